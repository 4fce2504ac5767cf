"""What an analysis returns: scores of components and named tensors, without torch."""

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

OUTPUT = "z"  # the site of a head's output, which is shown before the sites it reads
NONE = -1  # the layer or index of a component without one; keys are never NULL


class Kind(StrEnum):
    MODEL = "model"  # the whole model; with a layer, the residual that enters the layer
    HEAD = "head"  # one attention head; its output is z W_O, including its value bias
    KV_HEAD = "kv_head"  # keys and values of one group under grouped-query attention
    MLP = "mlp"
    ATTN = "attn"  # the whole attention output of a layer
    EMBED = "embed"  # token and position embeddings: the residual that enters layer 0
    ATTN_BIAS = "attn_bias"  # the output projection's bias (and a post-norm's) of a layer
    UNEMBED = (
        "unembed"  # constants after the residual: the final norm's bias, the unembedding's bias
    )
    SET = "set"  # several components together


@dataclass(frozen=True, order=True, kw_only=True)
class Component:
    """A part of a language model that can have scores; `layer` and `index` start at 0."""

    kind: Kind
    layer: int = NONE
    index: int = NONE

    @property
    def label(self) -> str:
        """A short name that sorts: `L05.H01`, `L05.MLP`, `L05.RESID`, `EMBED`."""
        if self.kind is Kind.HEAD:
            return f"L{self.layer:02d}.H{self.index:02d}"
        if self.kind is Kind.KV_HEAD:
            return f"L{self.layer:02d}.KV{self.index:02d}"
        if self.kind is Kind.SET and self.index != NONE:
            return f"SET{self.index:02d}"
        if self.kind is Kind.MODEL and self.layer != NONE:
            return f"L{self.layer:02d}.RESID"
        name = self.kind.value.upper()
        return name if self.layer == NONE else f"L{self.layer:02d}.{name}"


MODEL = Component(kind=Kind.MODEL)


@dataclass(frozen=True, order=True)
class ScoreKey:
    """Identifies one number: a quantity of a component; `x` is a coordinate (a rank, a share)."""

    component: Component
    quantity: Quantity
    x: float = 0.0


@dataclass(frozen=True)
class NamedTensor:
    """An array with a name for each axis; the first axis is `prompt`, or `sum`.

    The first axis is `sum` (see `prompt_sums`) if only the sum over prompts is needed: sums of
    parts are added, and values of single prompts are not stored.
    `coordinates` names the indices along an axis, such as components. An axis without names may
    differ in length between prompts, such as tokens: it is as long as the longest, padded with NaN
    (floats only). `missing` is broadcast to the shape of `values`; it is true where there is no
    number, because the prompt was skipped or is shorter. All other values must be finite.

    Raises `ValueError` if the number of axes or of names along one does not fit the shape.
    """

    values: NDArray[np.generic]
    axes: tuple[str, ...]
    coordinates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if len(self.axes) != self.values.ndim:
            raise ValueError(
                f"A tensor of shape {self.values.shape} needs one axis name per dimension, "
                f"not {self.axes}."
            )
        sizes = dict(zip(self.axes, self.values.shape, strict=True))
        for axis, names in self.coordinates.items():
            if sizes.get(axis) != len(names):
                raise ValueError(
                    f"Axis {axis!r} of a tensor with sizes {sizes} needs one coordinate name per "
                    f"index, not {len(names)}."
                )

    @classmethod
    def joined(cls, pieces: "Sequence[NamedTensor]") -> "NamedTensor":
        """Concatenate along the first axis, padding other axes to the longest; add up sums."""
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
        """Whether this is a sum over prompts, without a prompt axis."""
        return self.axes[:1] == (prompt_sums.AXIS,)

    @property
    def without_number(self) -> NDArray[np.bool_]:
        """`missing`, broadcast to the shape of `values`."""
        none = np.zeros((), dtype=bool)
        return np.broadcast_to(none if self.missing is None else self.missing, self.values.shape)

    def not_finite(self) -> tuple[int, ...] | None:
        """The first index whose value is neither finite nor missing; None if there is none."""
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
            f"The analysis returned a {what} of shape {shape} for {prompts} prompts. "
            "Return one value per prompt, and mark skipped prompts in `skipped`."
        )


class NotANumber(Refused):
    def __init__(self, what: str, value: float, prompt: int | None) -> None:
        of = "" if prompt is None else f" of prompt {prompt}"
        super().__init__(
            f"The analysis returned {value} for {what}{of}, which is not finite. If there is no "
            "value, mark it in `skipped` (of a tensor, in `missing`); otherwise look for an "
            "overflow or a division by zero."
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an analysis measured on some prompts, in their order.

    `scores` has one float per prompt for each key. `skipped`, with the same keys, is true where a
    prompt was skipped; its float has no meaning.
    """

    scores: Mapping[ScoreKey, NDArray[np.float32]]
    tensors: Mapping[str, NamedTensor] = field(default_factory=dict)
    skipped: Mapping[ScoreKey, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def joined(cls, pieces: "Sequence[Measured]") -> "Measured":
        """Concatenate results that have the same scores and tensors."""
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
        """Which prompts were skipped for a score, [prompt]."""
        none = np.zeros(np.shape(self.scores[key]), dtype=bool)
        return self.skipped.get(key, none)

    def check(self, prompts: Sequence[int]) -> None:
        """Check that every score and tensor has a finite value for each prompt not skipped.

        Raises `WrongLength` if a first axis does not match the prompts, and `NotANumber` if a value
        is not finite.
        """
        self.check_scores(prompts)
        for name, tensor in self.tensors.items():
            expected = (prompt_sums.AXIS, 2) if tensor.is_sum else ("prompt", len(prompts))
            if (*tensor.axes[:1], *tensor.values.shape[:1]) != expected:
                raise WrongLength(f"tensor {name!r}", tensor.values.shape, len(prompts))
            place = tensor.not_finite()
            if place is not None:
                prompt = None if tensor.is_sum else prompts[place[0]]
                raise NotANumber(f"tensor {name!r}", tensor.values[place], prompt)

    def check_scores(self, prompts: Sequence[int]) -> None:
        """Like `check`, for scores only."""
        for key, vector in self.scores.items():
            what = f"score {key.quantity.metric!r} of {key.component.label}"
            for each in (vector, self.left_out(key)):
                if np.shape(each) != (len(prompts),):
                    raise WrongLength(what, np.shape(each), len(prompts))
            bad = np.flatnonzero(~np.isfinite(vector) & ~self.left_out(key))
            if len(bad):
                raise NotANumber(what, float(vector[bad[0]]), prompts[bad[0]])


class Resampled(NamedTuple):
    """A number about a run, and its value in every resample of items."""

    key: ScoreKey
    values: NDArray[np.float64]


def no_resamples(draws: "Draws") -> "Iterator[Resampled]":
    """The default of `Derived.resampled`: no number is computed from resamples."""
    return iter(())


@dataclass(frozen=True, kw_only=True)
class Derived:
    """Results that need all prompts of a run together.

    `resampled` yields the values of every resample, one key at a time; a number that it does not
    yield has no interval, and `ScoreDescription.no_interval` gives the reason.
    """

    numbers: Mapping[ScoreKey, float] = field(default_factory=dict)
    resampled: "Callable[[Draws], Iterable[Resampled]]" = no_resamples
    tensors: Mapping[str, NamedTensor] = field(default_factory=dict)
    used_up: frozenset[str] = frozenset()  # tensors of the parts that are not stored

    def check(self) -> None:
        """Raises `NotANumber` if a number or a tensor's value is not finite."""
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
    """The result of a finished run, as another run reads it.

    `scores` are per-prompt vectors, NaN exactly where the prompt was skipped. `means` are their
    means and the numbers about the run, NaN if there is none. All parts of a run share these
    arrays: do not modify them.
    """

    scores: Mapping[ScoreKey, NDArray[np.float32]]
    means: Mapping[ScoreKey, float]
    tensors: Mapping[str, NamedTensor]

    def skipped(self, key: ScoreKey) -> NDArray[np.bool_]:
        """Which prompts were skipped for a score, [prompt]."""
        return np.isnan(self.scores[key])
