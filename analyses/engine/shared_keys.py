"""Keys and values that several layers share, in replays of branches."""

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
    """The keys and values of one layer that belong to branches' own tokens."""

    key: Float[Tensor, "batch kv branch suffix d_head"]
    value: Float[Tensor, "batch kv branch suffix d_value"]


@dataclass(frozen=True, kw_only=True)
class SharedKeys:
    """A layer's argument through which layers share keys and values: a mapping that they add to."""

    argument: str
    empty: Callable[[], MutableMapping[Any, tuple[Tensor, Tensor]]]
    layers: Mapping[
        Any, int
    ]  # by name: whose keys and values the mapping holds when this layer is called


def arguments(
    shared: SharedKeys | None,
    recorded: "Recorded",
    suffix: "Suffix",
    branches: int,
    own_keys: Mapping[int, Own],
) -> dict[str, Any]:
    """The mapping that a layer gets, for `branches` suffixes of every prompt.

    The first branches have the keys and values of `own_keys`; the others those that were recorded.
    It is made for every call, so what the layer adds reaches no other.
    """
    if shared is None:
        return {}
    mapping = shared.empty()
    for name, layer in shared.layers.items():
        reads = recorded.reads[layer]
        computed = own_keys.get(layer, (None, None))
        mapping[name] = (
            _joined(computed[0], reads.key, suffix, branches),
            _joined(computed[1], reads.value, suffix, branches),
        )
    return {shared.argument: mapping}


def own(
    key: Float[Tensor, "batch kv token d_head"],
    value: Float[Tensor, "batch kv token d_value"],
    suffix: "Suffix",
    branches: int,
) -> Own:
    """The first branches' keys and values in a call; a token is a (branch suffix) pair."""
    pattern = "batch kv (branch suffix) d -> batch kv branch suffix d"
    by_branch = (rearrange(each, pattern, suffix=suffix.width) for each in (key, value))
    return Own(*(each[:, :, :branches] for each in by_branch))


def _joined(
    computed: Float[Tensor, "batch kv branch suffix d"] | None,
    recorded: Float[Tensor, "batch kv pos d"],
    suffix: "Suffix",
    branches: int,
) -> Float[Tensor, "batch kv token d"]:
    here = suffix.gather(recorded.transpose(1, 2)).transpose(1, 2)[:, :, None]
    parts = [] if computed is None else [computed]
    starting = branches - sum(each.shape[2] for each in parts)
    return torch.cat([*parts, here.expand(-1, -1, starting, -1, -1)], dim=2).flatten(2, 3)
