"""What the scores and tensors mean that an analysis stores, as its page tells them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from analyses.results import Kind, ScoreKey

Place = tuple[Kind, str]  # of which components, at which site

OF_MODEL: Place = (Kind.MODEL, "")
Better = Literal["high", "low"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The scores of one metric.

    `{…}` in a condition stands for any text. `x` says what the coordinate counts; it is 0 where
    nothing is said. `better` is None where neither more nor less of it is a better answer. What is
    not `sure` is there only where the numbers allow it, as the meaning tells. The prompts of a
    `proportion` are 1 or 0, or a share where several options tie: its interval says so.
    `no_interval` says why a score has none, however many items it is of; else it has one from two
    items on.
    """

    metric: str
    meaning: str
    unit: str = ""
    better: Better | None = None
    where: tuple[Place, ...] = (OF_MODEL,)
    conditions: tuple[str, ...] = ("",)
    x: str = ""
    sure: bool = True
    proportion: bool = False
    no_interval: str = ""

    def __contains__(self, key: ScoreKey) -> bool:
        return any(self.names(key, place, condition) for place, condition in self.variants())

    def variants(self) -> list[tuple[Place, str]]:
        """Each place under each condition."""
        return [(place, condition) for place in self.where for condition in self.conditions]

    def names(self, key: ScoreKey, place: Place, condition: str) -> bool:
        """Whether this is said of a score, at one place under one condition."""
        kind, site = place
        return (
            (key.metric, key.component.kind, key.site) == (self.metric, kind, site)
            and bool(_pattern(condition).fullmatch(key.condition))
            and (key.x == 0 or bool(self.x))
        )


class Meanings:
    """What is said of scores, found once for all that differ in index, layer and coordinate."""

    def __init__(self, stores: Sequence[Stored]) -> None:
        self._stores = tuple(stores)
        self._known: dict[tuple[object, ...], Stored | None] = {}

    def of(self, key: ScoreKey) -> Stored | None:
        """None where nothing is said."""
        what = key.component.kind, key.metric, key.site, key.condition, key.x == 0
        if what not in self._known:
            self._known[what] = next((said for said in self._stores if key in said), None)
        return self._known[what]


# What a run keeps of it, so that its scores are read as they were meant, by whatever is installed.
_KEPT = ("metric", "where", "conditions", "x", "better", "no_interval")


def as_json(stores: Sequence[Stored]) -> list[dict[str, Any]]:
    """What is kept with a run: all but what only a page tells."""
    return [{name: asdict(said)[name] for name in _KEPT} for said in stores]


def from_json(kept: Sequence[Mapping[str, Any]]) -> tuple[Stored, ...]:
    """What was kept with a run; meanings are empty."""
    return tuple(
        Stored(
            metric=said["metric"],
            meaning="",
            where=tuple((Kind(kind), site) for kind, site in said["where"]),
            conditions=tuple(said["conditions"]),
            x=said["x"],
            better=said["better"],
            no_interval=said["no_interval"],
        )
        for said in kept
    )


def _pattern(condition: str) -> re.Pattern[str]:
    fixed = re.split(r"\{\w+\}", condition)
    return re.compile("(.+)".join(map(re.escape, fixed)))


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """A tensor by its name, and what lies along its axes."""

    name: str
    axes: tuple[str, ...]
    meaning: str


# What is measured of the label logits at the final position.
LABEL_METRICS = (
    Stored(
        metric="logit_diff",
        meaning="logit of the correct label minus the mean of the other labels'",
        unit="logits",
        better="high",
    ),
    Stored(
        metric="accuracy",
        meaning="whether the correct label has the largest logit of all labels; largest ones that "
        "tie share the answer",
        unit="share of prompts",
        better="high",
        proportion=True,
    ),
    Stored(
        metric="label_loss",
        meaning="-log softmax of the correct label, over the labels only",
        unit="nats",
        better="low",
    ),
    Stored(
        metric="label_mass",
        meaning="summed probability of all labels, over the whole vocabulary: whether the model "
        "answers with a label at all",
        unit="probability",
        better="high",
    ),
    Stored(
        metric="loss",
        meaning="-log softmax of the correct label, over the whole vocabulary",
        unit="nats",
        better="low",
    ),
)

NOOP_EFFECT = Stored(
    metric="noop_effect",
    meaning="how far the logit difference moves when the final position is computed by itself and "
    "nothing is changed: by rounding, and where experts are chosen anew. Effects are measured "
    "against a run of that kind, so it is in none of them; where it is large, they are those of a "
    "slightly different run",
    unit="logits",
    conditions=("logit_diff",),
)


def at(metrics: Sequence[Stored], *where: Place, x: str = "") -> tuple[Stored, ...]:
    """The same metrics of other components, at these sites, by this coordinate."""
    return tuple(replace(each, where=where, x=x) for each in metrics)


def under(metrics: Sequence[Stored], *conditions: str) -> tuple[Stored, ...]:
    """The same metrics under these conditions."""
    return tuple(replace(each, conditions=conditions) for each in metrics)


def differences(metrics: Sequence[Stored], condition: str) -> tuple[Stored, ...]:
    """The same metrics of one run minus those of another: none is a proportion."""
    return tuple(replace(each, proportion=False) for each in under(metrics, condition))
