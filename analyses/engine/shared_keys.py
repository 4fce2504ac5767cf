"""Keys and values that layers above read again, as riders have them."""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from analyses.engine.recording import Recorded
    from analyses.engine.suffixes import Suffix


class Own(NamedTuple):
    """What riders' tokens have of a layer's keys and values."""

    key: Float[Tensor, "batch kv rider suffix d_head"]
    value: Float[Tensor, "batch kv rider suffix d_value"]


@dataclass(frozen=True, kw_only=True)
class SharedKeys:
    """An argument of a layer, a mapping to which layers add their keys and values for others."""

    argument: str
    empty: Callable[[], MutableMapping[Any, tuple[Tensor, Tensor]]]
    layers: Mapping[Any, int]  # which layer's stand under a name when this layer is called


def arguments(
    shared: SharedKeys | None,
    recorded: "Recorded",
    suffix: "Suffix",
    riders: int,
    carried: Mapping[int, Own],
) -> dict[str, Any]:
    """The mapping as a layer finds it, for `riders` suffixes of every prompt.

    The first riders' keys and values are those `carried`; the others' are as they were recorded.
    It is made anew for every call: what the layer adds reaches no other.
    """
    if shared is None:
        return {}
    found = shared.empty()
    for name, layer in shared.layers.items():
        reads = recorded.reads[layer]
        aboard = carried.get(layer, (None, None))
        found[name] = (
            _joined(aboard[0], reads.key, suffix, riders),
            _joined(aboard[1], reads.value, suffix, riders),
        )
    return {shared.argument: found}


def own(
    key: Float[Tensor, "batch kv token d_head"],
    value: Float[Tensor, "batch kv token d_value"],
    suffix: "Suffix",
    riders: int,
) -> Own:
    """The first riders' part of what attention was asked with; a token is a (rider suffix) pair."""
    pattern = "batch kv (rider suffix) d -> batch kv rider suffix d"
    by_rider = (rearrange(each, pattern, suffix=suffix.width) for each in (key, value))
    return Own(*(each[:, :, :riders] for each in by_rider))


def _joined(
    aboard: Float[Tensor, "batch kv rider suffix d"] | None,
    recorded: Float[Tensor, "batch kv pos d"],
    suffix: "Suffix",
    riders: int,
) -> Float[Tensor, "batch kv token d"]:
    here = suffix.gather(recorded.transpose(1, 2)).transpose(1, 2)[:, :, None]
    parts = [] if aboard is None else [aboard]
    joining = riders - sum(each.shape[2] for each in parts)
    return torch.cat([*parts, here.expand(-1, -1, joining, -1, -1)], dim=2).flatten(2, 3)
