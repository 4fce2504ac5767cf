"""Queries and keys before rotary embedding, for any family that has one."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine import shared_keys
from analyses.engine.anatomy import LayerAnatomy
from analyses.engine.attention import AttentionCall, observing_attention
from analyses.engine.closure import TOLERANCE, check_closure
from analyses.engine.recording import Recorded
from analyses.engine.suffixes import Suffix
from analyses.errors import Refused

ANGLES = "position_embeddings"  # the name under which layers are given (cos, sin)


class NoRotaryEmbedding(Refused):
    def __init__(self, layer: int, why: str) -> None:
        super().__init__(
            f"Layer {layer} has no queries and keys before rotary embedding: {why}. "
            f"Use those after it (`before_rotary=False`; in an analysis: rotary=after)."
        )


class Frame(Protocol):
    """Coordinates in which vectors are changed: `back` goes there, `turn` to those of attention."""

    def back(
        self, x: Float[Tensor, "batch pos d"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d"]: ...

    def turn(
        self, x: Float[Tensor, "batch pos d"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d"]: ...


class AsSeen:
    """The coordinates of attention themselves."""

    def back(self, x: Tensor, positions: Tensor) -> Tensor:
        return x

    turn = back


AS_SEEN = AsSeen()


@dataclass(frozen=True, kw_only=True, eq=False)
class Rotary:
    """turn(x) = cos · x + sin · J x on the first `dims` dimensions, with J J = −1.

    So back(x) is the rotation by the opposite angle, divided by cos² + sin².
    """

    apply: Callable[[Tensor, Tensor, Tensor], Tensor]  # the model's own rotation, with its J
    dims: int
    cos: Float[Tensor, "#batch all_pos angle"]
    sin: Float[Tensor, "#batch all_pos angle"]

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        return self._by(x, *self._angles(x, positions))

    def back(self, x: Tensor, positions: Tensor) -> Tensor:
        cos, sin = self._angles(x, positions)
        size = cos.square() + sin.square()
        return self._by(x, cos / size, -sin / size)

    def _angles(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(x), device=x.device)[:, None]
        at = (rows, positions.to(x.device))
        cos, sin = (each.to(x).expand(len(x), -1, -1)[at] for each in (self.cos, self.sin))
        return cos, sin

    def _by(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if not self.dims:
            return x
        rotated = self.apply(x[:, None, :, : self.dims], cos, sin)
        return torch.cat([rotated[:, 0], x[..., self.dims :]], dim=-1)


def find_rotary(layer: LayerAnatomy, recorded: Recorded, number: int) -> Rotary:
    """Probes the layer: with cos = sin = 0 the rotated dimensions vanish; angle 0 changes none.

    Raises `DoesNotClose` when the queries at angle 0, rotated, are not those that were recorded.
    """
    angles = recorded.reads[number].arguments.get(ANGLES)
    if not (isinstance(angles, tuple) and len(angles) == 2):
        raise NoRotaryEmbedding(number, f"it is not called with {ANGLES} of (cos, sin)")
    cos, sin = (each.float() for each in angles)
    vanishing = _queries(layer, recorded, number, (cos * 0, sin * 0))
    rotary = Rotary(
        apply=_own_function(layer, number),
        dims=int((vanishing == 0).all(0).all(0).all(0).sum()),
        cos=cos,
        sin=sin,
    )
    before = _queries(layer, recorded, number, (cos * 0 + 1, sin * 0))
    rotated = torch.cat(
        [rotary.turn(head.float(), recorded.final[:, None]) for head in before.unbind(1)], dim=1
    )
    expected = recorded.reads[number].q.float()
    check_closure(
        rotated.reshape(len(rotated), -1),
        expected.reshape(len(expected), -1),
        where=f"layer {number}",
        what="the rotated queries and those that were recorded",
        numbers=recorded.numbers,
        tolerance=TOLERANCE[recorded.reads[number].q.dtype],
    )
    return rotary


def is_known(layer: LayerAnatomy, recorded: Recorded, number: int) -> bool:
    """Whether queries and keys of a layer are available before rotary embedding."""
    try:
        find_rotary(layer, recorded, number)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # functions of foreign modules may raise anything
        if "can't allocate memory" in str(error):  # all that torch says of it on the CPU
            raise
        return False
    return True


@torch.no_grad()
def _queries(
    layer: LayerAnatomy, recorded: Recorded, number: int, angles: tuple[Tensor, Tensor]
) -> Float[Tensor, "batch head 1 d_head"]:
    """The queries of the final positions under these angles."""
    observed: list[AttentionCall] = []
    reads = recorded.reads[number]
    cos, sin = (each.to(reads.q.dtype) for each in angles)
    suffix = Suffix.of((), recorded.final)
    arguments: dict[str, Any] = suffix.arguments({**reads.arguments, ANGLES: (cos, sin)}, 1)
    arguments |= shared_keys.arguments(layer.shared, recorded, suffix, 1, {})
    with observing_attention(observed.append):
        layer.layer(recorded.layers[number].resid_pre[:, None].to(reads.q.dtype), **arguments)
    return observed[0].query


def _own_function(layer: LayerAnatomy, number: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The rotation function of the module that defines the attention."""
    module = sys.modules[type(layer.attention).__module__]
    names = [name for name in vars(module) if name.startswith("apply_rotary")]
    if len(names) != 1:
        raise NoRotaryEmbedding(
            number, f"{module.__name__} has not exactly one function apply_rotary…"
        )
    rotate: Callable[..., Any] = getattr(module, names[0])
    if list(inspect.signature(rotate).parameters)[1] == "cos":
        return lambda x, cos, sin: rotate(x, cos, sin)
    return lambda x, cos, sin: rotate(x, x, cos, sin)[0]  # queries and keys together
