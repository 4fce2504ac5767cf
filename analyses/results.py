"""What an analysis hands back: scores of components and named tensors, without torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from analyses import prompt_sums
from analyses.errors import Refused
from analyses.quantities import Quantity

if TYPE_CHECKING:
    from analyses.bootstrap import Draws

OUTPUT = "z"  # the site of what a head gives, which is shown before what it reads
NONE = -1  # the layer or index of a component that has none; keys are never NULL


class Kind(StrEnum):
    MODEL = "model"  # the whole model
    HEAD = "head"  # one attention head: what it writes, z W_O, its value bias included
    KV_HEAD = "kv_head"  # keys and values of one group under grouped-query attention
    MLP = "mlp"
    ATTN = "attn"  # all that the attention of a layer writes
    EMBED = "embed"  # token and position embeddings: the residual that enters layer 0
    ATTN_BIAS = "attn_bias"  # the output projection's bias (and a post-norm's) of a layer
    UNEMBED = (
        "unembed"  # constants after the residual: the final norm's bias, the unembedding's bias
    )
    SET = "set"  # several components together


@dataclass(frozen=True, order=True, kw_only=True)
class Component:
    """A part of a language model that can have scores; `layer` and `index` count from 0."""

    kind: Kind
    layer: int = NONE
    index: int = NONE

    @property
    def label(self) -> str:
        """A short name that sorts: `L05.H01`, `L05.MLP`, `EMBED`."""
        if self.kind is Kind.HEAD:
            return f"L{self.layer:02d}.H{self.index:02d}"
        if self.kind is Kind.KV_HEAD:
            return f"L{self.layer:02d}.KV{self.index:02d}"
        if self.kind is Kind.SET and self.index != NONE:
            return f"SET{self.index:02d}"
        name = self.kind.value.upper()
        return name if self.layer == NONE else f"L{self.layer:02d}.{name}"


MODEL = Component(kind=Kind.MODEL)


@dataclass(frozen=True, order=True)
class ScoreKey:
    """Names one number: a quantity of a component; `x` is a coordinate (a rank, a share)."""

    component: Component
    quantity: Quantity
    x: float = 0.0


@dataclass(frozen=True)
class NamedTensor:
    """An array with a name for each axis; the first is `prompt` where there is one value for each.

    Where only the sum over prompts is needed, the first axis is `sum` (see `prompt_sums`): sums of
    parts are added, and nobody has to store the values of every prompt.
    `coordinates` names the places along an axis: the components, in their order. An axis without
    names may be longer for some prompts than for others, such as their tokens: then it is as long
    as the longest, and NaN fills up the rest. Only floats have that. `missing`, which is broadcast,
    is true where there is no number, because a prompt was skipped or is shorter; everywhere else
    there has to be one.
    """

    values: NDArray[np.generic]
    axes: tuple[str, ...]
    coordinates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if len(self.axes) != self.values.ndim:
            raise ValueError(
                f"A tensor of shape {self.values.shape} needs one axis name per dimension; "
                f"it was given {self.axes}."
            )
        sizes = dict(zip(self.axes, self.values.shape, strict=True))
        for axis, names in self.coordinates.items():
            if sizes.get(axis) != len(names):
                raise ValueError(
                    f"The axis {axis!r} of a tensor of size {sizes} cannot have {len(names)} names."
                )

    @classmethod
    def joined(cls, pieces: "Sequence[NamedTensor]") -> "NamedTensor":
        """One piece after the other along the first axis, as long as the longest along others."""
        first = pieces[0]
        if first.is_sum:
            total = prompt_sums.added([piece.values for piece in pieces])
            return cls(total, first.axes, first.coordinates)
        longest = np.max([piece.values.shape for piece in pieces], axis=0)[1:]
        values = [_as_long(piece.values, longest, np.nan) for piece in pieces]
        missing = [_as_long(piece.without_number, longest, True) for piece in pieces]
        whole = np.concatenate(missing)
        return cls(
            np.concatenate(values), first.axes, first.coordinates, whole if whole.any() else None
        )

    @property
    def is_sum(self) -> bool:
        """Whether it is a sum over prompts, and has no axis for them."""
        return self.axes[:1] == (prompt_sums.AXIS,)

    @property
    def without_number(self) -> NDArray[np.bool_]:
        """`missing` at every place."""
        nowhere = np.zeros((), dtype=bool)
        return np.broadcast_to(nowhere if self.missing is None else self.missing, self.values.shape)

    def not_finite(self) -> tuple[int, ...] | None:
        """The first place that should have a number and has none."""
        if not np.issubdtype(self.values.dtype, np.inexact):
            return None
        bad = np.argwhere(~np.isfinite(self.values) & ~self.without_number)
        return tuple(bad[0].tolist()) if len(bad) else None


Value = TypeVar("Value", bound=np.generic)


def _as_long(values: NDArray[Value], longest: NDArray[np.int64], fill: float) -> NDArray[Value]:
    lacking = (longest - values.shape[1:]).tolist()
    if not any(lacking):
        return values
    return np.pad(values, [(0, 0), *((0, each) for each in lacking)], constant_values=fill)


class WrongLength(Refused):
    def __init__(self, what: str, shape: tuple[int, ...], prompts: int) -> None:
        super().__init__(
            f"The analysis gave a {what} of shape {shape} for {prompts} prompts. "
            "Give one entry per prompt first, and say in `skipped` which were skipped."
        )


class NotANumber(Refused):
    def __init__(self, what: str, value: float, prompt: int | None) -> None:
        of = "" if prompt is None else f" of prompt {prompt}"
        super().__init__(
            f"The analysis gave {value} as the {what}{of}, which is no finite number. Where there "
            "is none, say so in `skipped` (of a tensor in `missing`); else something overflows or "
            "is divided by zero."
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one analysis measured on some prompts, in their order.

    `scores` holds one float per prompt under each key. `skipped` is true, under the same keys,
    where a prompt was left out: what the float is there says nothing.
    """

    scores: Mapping[ScoreKey, NDArray[np.float32]]
    tensors: Mapping[str, NamedTensor] = field(default_factory=dict)
    skipped: Mapping[ScoreKey, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def joined(cls, pieces: "Sequence[Measured]") -> "Measured":
        """Pieces with the same scores and tensors, one after the other."""
        first = pieces[0]
        return cls(
            scores={
                key: np.concatenate([piece.scores[key] for piece in pieces]) for key in first.scores
            },
            tensors={
                name: NamedTensor.joined([piece.tensors[name] for piece in pieces])
                for name in first.tensors
            },
            skipped={
                key: np.concatenate([piece.left_out(key) for piece in pieces])
                for key in first.scores
                if any(key in piece.skipped for piece in pieces)
            },
        )

    def left_out(self, key: ScoreKey) -> NDArray[np.bool_]:
        """Which prompts were skipped for a score."""
        nobody = np.zeros(np.shape(self.scores[key]), dtype=bool)
        return self.skipped.get(key, nobody)

    def check(self, prompts: Sequence[int]) -> None:
        """One number for each of these prompts unless it was skipped.

        Raises `WrongLength` and `NotANumber`.
        """
        self.check_scores(prompts)
        for name, tensor in self.tensors.items():
            wanted = (prompt_sums.AXIS, 2) if tensor.is_sum else ("prompt", len(prompts))
            if (*tensor.axes[:1], *tensor.values.shape[:1]) != wanted:
                raise WrongLength(f"tensor {name!r}", tensor.values.shape, len(prompts))
            place = tensor.not_finite()
            if place is not None:
                prompt = None if tensor.is_sum else prompts[place[0]]
                raise NotANumber(f"tensor {name!r}", tensor.values[place], prompt)

    def check_scores(self, prompts: Sequence[int]) -> None:
        """The same of the scores alone."""
        for key, vector in self.scores.items():
            what = f"score {key.quantity.metric!r} of {key.component.label}"
            for each in (vector, self.left_out(key)):
                if np.shape(each) != (len(prompts),):
                    raise WrongLength(what, np.shape(each), len(prompts))
            bad = np.flatnonzero(~np.isfinite(vector) & ~self.left_out(key))
            if len(bad):
                raise NotANumber(what, float(vector[bad[0]]), prompts[bad[0]])


class Resampled(NamedTuple):
    """A number about a run, and what it is in every resample of the run's items."""

    key: ScoreKey
    values: NDArray[np.float64]


def no_resamples(draws: "Draws") -> "Iterator[Resampled]":
    """Where no number can be found again in resamples."""
    return iter(())


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What can only be said of all prompts of a run together.

    `resampled` gives the numbers of every resample, one key after the other; a number that it does
    not give has no interval, and what the analysis stores says why.
    """

    numbers: Mapping[ScoreKey, float] = field(default_factory=dict)
    resampled: "Callable[[Draws], Iterable[Resampled]]" = no_resamples
    tensors: Mapping[str, NamedTensor] = field(default_factory=dict)
    used_up: frozenset[str] = frozenset()  # tensors of the parts that are not kept

    def check(self) -> None:
        """Raises `NotANumber`."""
        for key, value in self.numbers.items():
            if not np.isfinite(value):
                raise NotANumber(
                    f"number {key.quantity.metric!r} of {key.component.label}", value, None
                )
        for name, tensor in self.tensors.items():
            place = tensor.not_finite()
            if place is not None:
                raise NotANumber(f"tensor {name!r} at {place}", tensor.values[place], None)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished run holds, as another run reads it.

    `scores` are the per-prompt vectors; what `skipped` says of them is stored with them, and they
    hold NaN there and nowhere else. `means` are theirs, and the numbers about the run, NaN where
    there is none. All parts of a run read the same arrays: they are not to be changed.
    """

    scores: Mapping[ScoreKey, NDArray[np.float32]]
    means: Mapping[ScoreKey, float]
    tensors: Mapping[str, NamedTensor]

    def skipped(self, key: ScoreKey) -> NDArray[np.bool_]:
        """Which prompts were left out of a score."""
        return np.isnan(self.scores[key])
