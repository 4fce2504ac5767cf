"""The few numbers of a run that MLflow shows: its own charts draw those that are curves."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from analyses.quantities import Quantity
from analyses.results import MODEL, Kind
from tracker.results import ScoreLine, strongest

MOST_KEYS = 30  # MLflow's search slows down with the number of keys per run
STRONGEST_HEADS = 10


class Point(NamedTuple):
    """One value of a metric; of a curve the one at x = `step`."""

    key: str
    step: int
    value: float


def summary(scores: Sequence[ScoreLine], *, headline: Quantity | None = None) -> list[Point]:
    """The numbers about the model and sets, then the strongest heads; 30 keys at the most.

    Scores that differ in x alone are one key, a curve. First come those with nothing varied, and of
    the others those of the headline's metric.
    """
    lines = [s for s in scores if s.mean is not None]
    curves = list(_curves(s for s in lines if s.component == MODEL or s.component.kind is Kind.SET))
    first = headline.metric if headline else ""
    curves.sort(
        key=lambda curve: (bool(curve[0].quantity.varied), curve[0].quantity.metric != first)
    )
    heads = [s for s in lines if s.component.kind is Kind.HEAD]
    alike = [s for s in heads if _what(s) == _what(heads[0])]  # those that the map of heads shows
    curves += [[s] for s in strongest(alike, STRONGEST_HEADS)]
    keyed: dict[str, list[Point]] = {}
    for curve in curves:
        for point in _points(curve):
            keyed.setdefault(point.key, []).append(point)
    return [point for points in list(keyed.values())[:MOST_KEYS] for point in points]


def _what(score: ScoreLine) -> tuple[Quantity, float]:
    return score.quantity, score.x


def _curves(lines: Iterable[ScoreLine]) -> Iterable[list[ScoreLine]]:
    """Scores that differ in x alone, together."""
    together: dict[tuple[object, ...], list[ScoreLine]] = {}
    for s in lines:
        together.setdefault((s.component, s.quantity), []).append(s)
    return together.values()


def _points(curve: Sequence[ScoreLine]) -> list[Point]:
    """One key with a step for each x; where steps would coincide, as for shares, a key for each.

    A score that has an x names it, 0 as well.
    """
    steps = [round(s.x) for s in curve]
    if len(curve) > 1 and len(set(steps)) == len(curve):
        return [Point(_key(s), step, s.mean or 0.0) for s, step in zip(curve, steps, strict=True)]
    return [Point(_key(s, x=s.coordinate), 0, s.mean or 0.0) for s in curve]


def _key(score: ScoreLine, x: str = "") -> str:
    """The component unless it is the model, the metric, and whatever else tells scores apart."""
    component = "" if score.component == MODEL else score.component.label
    of = score.quantity
    words = (component, of.metric, of.site, of.condition, x)
    return re.sub(r"[^\w\-. :/]", _spelled, "/".join(filter(None, words)).replace("=", ":"))


def _spelled(character: re.Match[str]) -> str:
    """What a metric's name may not hold, such as a label, by its code point."""
    return f"U{ord(character[0]):04X}"
