"""Analyses that need each other, for the tests of runs that do.

`sizes` gives every prompt its length, and a table for the whole run; `shares` reads both: it needs
`sizes` of the same prompts and of others; `again` needs `shares`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import Field

from analyses import registry
from analyses.errors import Refused
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Need, Params, analysis
from analyses.results import MODEL, Derived, Measured, NamedTensor, Result, ScoreKey

SIZE = ScoreKey(MODEL, Quantity("size"))
TOTAL = ScoreKey(MODEL, Quantity("total"))
SHARE = ScoreKey(MODEL, Quantity("share"))
HANDED: list[Mapping[str, Result]] = []  # what `shares` was given, part by part
BEFORE: list[Callable[[], None]] = []  # what `sizes` does first


class TooHigh(Refused):
    def __init__(self, rank: int, d_head: int) -> None:
        super().__init__(f"rank: {rank} is more than the {d_head} dimensions of a head.")


class SizesParams(Params):
    rank: int = Field(1, ge=1, le=99)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        d_head = model.layers[0].d_qk
        if self.rank > d_head:
            raise TooHigh(self.rank, d_head)


class SharesParams(SizesParams):
    scale: float = Field(1.0, gt=0)

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        return tuple(
            Need(name=name, analysis="sizes", params=self._of_sizes(), distribution=prompts)
            for name, prompts in {"same": spec, "others": others(spec)}.items()
        )

    def _of_sizes(self) -> dict[str, Any]:
        return {"rank": self.rank, "batch_size": self.batch_size}


class AgainParams(SharesParams):
    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        asked = {**self._of_sizes(), "scale": self.scale}
        return (Need(name="shares", analysis="shares", params=asked, distribution=spec),)


class EndlessParams(Params):
    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        return (Need(name="me", analysis="endless", params={}, distribution=spec),)


def others(spec: DistributionSpec) -> DistributionSpec:
    return DistributionSpec(**spec.model_dump() | {"seed": spec.seed + 1})


def table(lengths: Sequence[float], rank: int) -> np.ndarray:
    """Powers 1 to `rank` of the logarithms of lengths, added up over prompts."""
    powers = np.arange(1, rank + 1)[:, None]
    return np.asarray((np.log(np.asarray(lengths, np.float32)) ** powers).sum(1), np.float32)


def derive_sizes(measured: Measured, params: SizesParams) -> Derived:
    lengths = measured.scores[SIZE]
    return Derived(
        numbers={TOTAL: float(np.nansum(lengths, dtype=np.float64)) / 3},
        tensors={"table": NamedTensor(table(lengths.tolist(), params.rank), ("power",))},
    )


def sizes(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
    """How many tokens a prompt has, and what they add up to."""
    for act in BEFORE:
        act()
    lengths = np.array([len(each.input_ids) for each in prompts], np.float32)
    return Measured(
        scores={SIZE: lengths},
        tensors={"lengths": NamedTensor(lengths[:, None], ("prompt", "one"))},
    )


def shares(lm: Any, prompts: Any, params: Any, progress: Any, *, inputs: Any) -> Measured:
    """A prompt's share of what all are, by what the runs before have found."""
    HANDED.append(inputs)
    same, other = inputs["same"], inputs["others"]
    of_all = params.scale * same.means[TOTAL] + other.tensors["table"].values.sum()
    lengths = np.array([len(each.input_ids) for each in prompts], np.float32)
    return Measured(scores={SHARE: (lengths / np.float32(of_all)).astype(np.float32)})


def again(lm: Any, prompts: Any, params: Any, progress: Any, *, inputs: Any) -> Measured:
    """Needs a run that needs runs."""
    return Measured(scores={SHARE: np.full(len(prompts), inputs["shares"].means[SHARE])})


def endless(lm: Any, prompts: Any, params: Any, progress: Any, *, inputs: Any) -> Measured:
    """Needs itself."""
    raise AssertionError("it can never be queued")


@contextmanager
def registered() -> Iterator[None]:
    """Inside the block the analyses are there; what they were given is forgotten afterwards."""
    analysis("sizes", version=1, params=SizesParams, derive=derive_sizes)(sizes)
    for name, params, function in (
        ("shares", SharesParams, shares),
        ("again", AgainParams, again),
        ("endless", EndlessParams, endless),
    ):
        analysis(name, version=1, params=params)(function)
    try:
        yield
    finally:
        for name in ("sizes", "shares", "again", "endless"):
            del registry._ANALYSES[name]
        HANDED.clear()
        BEFORE.clear()
