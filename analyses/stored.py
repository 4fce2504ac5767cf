"""What the scores and tensors mean that an analysis stores, as its page tells them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from analyses.quantities import NOTHING, Value, Varied, as_varied, spelled
from analyses.results import Kind, ScoreKey

Place = tuple[Kind, str]  # of which components, at which site

OF_MODEL: Place = (Kind.MODEL, "")
OF_LOGIT_DIFF = Varied({"of": "logit_diff"})  # what most effects are on
Better = Literal["high", "low"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The scores of one metric.

    `varied` are all that may be varied; `{…}` in a value stands for any text. `x` says what the
    coordinate counts; it is 0 where nothing is said. `better` is None where neither more nor less
    of it is a better answer. What is not `sure` is there only where the numbers allow it, as the
    meaning tells. The prompts of a `proportion` are 1 or 0, or a share where several options tie:
    its interval says so. `no_interval` says why a score has none, however many items it is of; else
    it has one from two items on.
    """

    metric: str
    meaning: str
    unit: str = ""
    better: Better | None = None
    where: tuple[Place, ...] = (OF_MODEL,)
    varied: tuple[Mapping[str, Value], ...] = (NOTHING,)
    x: str = ""
    sure: bool = True
    proportion: bool = False
    no_interval: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "varied", tuple(map(as_varied, self.varied)))

    def __contains__(self, key: ScoreKey) -> bool:
        return any(self.names(key, place, varied) for place, varied in self.variants())

    def variants(self) -> list[tuple[Place, Varied]]:
        """Each place with each of what is varied."""
        return [(place, as_varied(each)) for place in self.where for each in self.varied]

    def names(self, key: ScoreKey, place: Place, varied: Varied) -> bool:
        """Whether this is said of a score, at one place with so much varied."""
        kind, site = place
        quantity = key.quantity
        return (
            (quantity.metric, key.component.kind, quantity.site) == (self.metric, kind, site)
            and _stands_for(varied, quantity.varied)
            and (key.x == 0 or bool(self.x))
        )


class Meanings:
    """What is said of scores, found once for all that differ in index, layer and coordinate."""

    def __init__(self, stores: Sequence[Stored]) -> None:
        self._stores = tuple(stores)
        self._known: dict[tuple[object, ...], Stored | None] = {}

    def of(self, key: ScoreKey) -> Stored | None:
        """None where nothing is said."""
        what = key.component.kind, key.quantity, key.x == 0
        if what not in self._known:
            self._known[what] = next((said for said in self._stores if key in said), None)
        return self._known[what]


def as_json(stores: Sequence[Stored]) -> list[dict[str, Any]]:
    """What is kept with a run, so that its scores are read as they were meant.

    It is all but what only a page tells.
    """
    return [
        {
            "metric": said.metric,
            "where": [[kind.value, site] for kind, site in said.where],
            "varied": [dict(each) for each in said.varied],
            "x": said.x,
            "better": said.better,
            "no_interval": said.no_interval,
        }
        for said in stores
    ]


def from_json(kept: Sequence[Mapping[str, Any]]) -> tuple[Stored, ...]:
    """What was kept with a run; meanings are empty."""
    return tuple(
        Stored(
            metric=said["metric"],
            meaning="",
            where=tuple((Kind(kind), site) for kind, site in said["where"]),
            varied=tuple(said["varied"]),
            x=said["x"],
            better=said["better"],
            no_interval=said["no_interval"],
        )
        for said in kept
    )


def _stands_for(pattern: Varied, varied: Varied) -> bool:
    """Whether both have the same names, and each value is the pattern's or what it stands for."""
    return pattern.keys() == varied.keys() and all(
        _pattern(spelled(pattern[name])).fullmatch(spelled(value)) for name, value in varied.items()
    )


@cache
def _pattern(value: str) -> re.Pattern[str]:
    fixed = re.split(r"\{\w+\}", value)
    return re.compile("(.+)".join(map(re.escape, fixed)), re.DOTALL)


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
    varied=(OF_LOGIT_DIFF,),
)


def at(metrics: Sequence[Stored], *where: Place, x: str = "") -> tuple[Stored, ...]:
    """The same metrics of other components, at these sites, by this coordinate."""
    return tuple(replace(each, where=where, x=x) for each in metrics)


def under(metrics: Sequence[Stored], *varied: Mapping[str, Value]) -> tuple[Stored, ...]:
    """The same metrics with these varied."""
    return tuple(replace(each, varied=varied) for each in metrics)


def differences(metrics: Sequence[Stored], varied: Mapping[str, Value]) -> tuple[Stored, ...]:
    """The same metrics of one run minus those of another: none is a proportion."""
    return tuple(replace(each, proportion=False) for each in under(metrics, varied))
