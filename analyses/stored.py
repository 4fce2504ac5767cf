"""What the scores and tensors mean that an analysis stores, as its page tells them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analyses.results import Kind, ScoreKey

Place = tuple[Kind, str]  # of which components, at which site

OF_MODEL: Place = (Kind.MODEL, "")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The scores of one metric.

    `{…}` in a condition stands for any text. `x` says what the coordinate counts; it is 0 where
    nothing is said. `better` is None where neither more nor less of it is a better answer. What is
    not `sure` is there only where the numbers allow it, as the meaning tells. The prompts of a
    `proportion` are 1 or 0, or a share where several options tie: its interval says so.
    """

    metric: str
    meaning: str
    unit: str = ""
    better: Literal["high", "low"] | None = None
    where: tuple[Place, ...] = (OF_MODEL,)
    conditions: tuple[str, ...] = ("",)
    x: str = ""
    sure: bool = True
    proportion: bool = False

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
        meaning="whether the correct label has the largest logit of all labels",
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
