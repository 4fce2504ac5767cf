"""Descriptions of the scores and tensors that an analysis stores, for its documentation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from analyses.quantities import NOTHING, Value, Varied, as_varied, spelled
from analyses.results import Kind, ScoreKey

Place = tuple[Kind, str]  # kind of component, site

OF_MODEL: Place = (Kind.MODEL, "")
OF_LOGIT_DIFF = Varied({"of": "logit_diff"})  # the metric that most effects are on
Better = Literal["high", "low"]


@dataclass(frozen=True, kw_only=True)
class ScoreDescription:
    """Describes the scores of one metric.

    `where` lists the kinds of components and sites that have the metric. `varied` lists the varied
    settings; `{…}` in a value matches any text. `x` is the meaning of the coordinate, which is 0 if
    `x` is empty. `better` is None if neither high nor low values are better. A score that is not
    `sure` is stored only under conditions, which the meaning gives. For a `proportion` the value of
    each prompt is 1 or 0, or a share if several options tie; it gets Wilson's interval.
    `no_interval` is the reason why a score never has an interval; others have one if they have at
    least two items. A `grouped` score is also stored, under `{group: value}`, for every group of
    prompts by which answers are broken down, such as a template.
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
    grouped: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "varied", tuple(map(as_varied, self.varied)))

    def __contains__(self, key: ScoreKey) -> bool:
        return any(self.names(key, place, varied) for place, varied in self._may_be(key))

    def variants(self) -> list[tuple[Place, Varied]]:
        """Each place combined with each of the varied settings."""
        return [(place, as_varied(varied)) for place in self.where for varied in self.varied]

    def _may_be(self, key: ScoreKey) -> list[tuple[Place, Varied]]:
        """The variants, and that of the score's own group, if there may be one."""
        own = key.quantity.varied
        groups = [(place, own) for place in self.where] if self.grouped and len(own) == 1 else []
        return self.variants() + groups

    def names(self, key: ScoreKey, place: Place, varied: Varied) -> bool:
        """Whether this describes a score, for one place and one of the varied settings."""
        kind, site = place
        quantity = key.quantity
        return (
            (quantity.metric, key.component.kind, quantity.site) == (self.metric, kind, site)
            and _matches(varied, quantity.varied)
            and (key.x == 0 or bool(self.x))
        )


class Meanings:
    """Finds the description of scores, once for all that differ only in layer, index and x."""

    def __init__(self, stores: Sequence[ScoreDescription]) -> None:
        self._stores = tuple(stores)
        self._known: dict[tuple[object, ...], ScoreDescription | None] = {}

    def of(self, key: ScoreKey) -> ScoreDescription | None:
        """The description of a score; None if there is none."""
        group = key.component.kind, key.quantity, key.x == 0
        if group not in self._known:
            self._known[group] = next((stored for stored in self._stores if key in stored), None)
        return self._known[group]


def as_json(stores: Sequence[ScoreDescription]) -> list[dict[str, Any]]:
    """The descriptions as stored with a run, so that later versions read its scores correctly.

    Texts that only the documentation shows are left out.
    """
    return [
        {
            "metric": stored.metric,
            "where": [[kind.value, site] for kind, site in stored.where],
            "varied": [dict(varied) for varied in stored.varied],
            "x": stored.x,
            "better": stored.better,
            "no_interval": stored.no_interval,
            "grouped": stored.grouped,
        }
        for stored in stores
    ]


def from_json(values: Sequence[Mapping[str, Any]]) -> tuple[ScoreDescription, ...]:
    """The descriptions stored with a run; their meanings are empty."""
    return tuple(
        ScoreDescription(
            metric=stored["metric"],
            meaning="",
            where=tuple((Kind(kind), site) for kind, site in stored["where"]),
            varied=tuple(stored["varied"]),
            x=stored["x"],
            better=stored["better"],
            no_interval=stored["no_interval"],
            grouped=stored.get("grouped", False),
        )
        for stored in values
    )


def _matches(pattern: Varied, varied: Varied) -> bool:
    """Whether both have the same names, and each value matches the pattern's value."""
    return pattern.keys() == varied.keys() and all(
        _pattern(spelled(pattern[name])).fullmatch(spelled(value)) for name, value in varied.items()
    )


@cache
def _pattern(value: str) -> re.Pattern[str]:
    fixed = re.split(r"\{\w+\}", value)
    return re.compile("(.+)".join(map(re.escape, fixed)), re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class TensorDescription:
    """Describes a tensor: its name, its axes and its meaning."""

    name: str
    axes: tuple[str, ...]
    meaning: str


# Metrics of the label logits at the final position.
LABEL_METRICS = (
    ScoreDescription(
        metric="logit_diff",
        meaning="logit of the correct label minus the mean of the other labels'",
        unit="logits",
        better="high",
    ),
    ScoreDescription(
        metric="accuracy",
        meaning="whether the correct label has the largest logit of all labels; labels that tie "
        "for the largest share the answer",
        unit="share of prompts",
        better="high",
        proportion=True,
    ),
    ScoreDescription(
        metric="label_loss",
        meaning="-log softmax of the correct label, over the labels only",
        unit="nats",
        better="low",
    ),
    ScoreDescription(
        metric="label_mass",
        meaning="total probability of all labels, over the whole vocabulary: whether the model "
        "answers with a label at all",
        unit="probability",
        better="high",
    ),
    ScoreDescription(
        metric="loss",
        meaning="-log softmax of the correct label, over the whole vocabulary",
        unit="nats",
        better="low",
    ),
    ScoreDescription(
        metric="prob_diff",
        meaning="probability of the correct labels minus that of the others, over the whole "
        "vocabulary",
        unit="probability",
        better="high",
    ),
)

NOOP_EFFECT = ScoreDescription(
    metric="noop_effect",
    meaning="how much the logit difference changes when only the final position is recomputed and "
    "nothing is patched: due to rounding, or if experts are routed differently. Effects are "
    "measured against such a replay, so they do not include it; if it is large, they are those of "
    "a slightly different run",
    unit="logits",
    varied=(OF_LOGIT_DIFF,),
)


def at(
    metrics: Sequence[ScoreDescription], *where: Place, x: str = ""
) -> tuple[ScoreDescription, ...]:
    """The same metrics at other places, with coordinate `x`."""
    return tuple(replace(metric, where=where, x=x) for metric in metrics)


def under(
    metrics: Sequence[ScoreDescription], *varied: Mapping[str, Value]
) -> tuple[ScoreDescription, ...]:
    """The same metrics with these varied settings."""
    return tuple(replace(metric, varied=varied) for metric in metrics)


def differences(
    metrics: Sequence[ScoreDescription], varied: Mapping[str, Value]
) -> tuple[ScoreDescription, ...]:
    """The differences of the same metrics between two forward passes; none is a proportion."""
    return tuple(replace(metric, proportion=False) for metric in under(metrics, varied))
