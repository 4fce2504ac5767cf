"""The scores of a run, each with its description by the analysis."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import collate, select, tuple_
from sqlalchemy.orm import Session

from analyses.quantities import Quantity
from analyses.results import OUTPUT, Component, Kind, ScoreKey
from analyses.shown import in_csv
from analyses.stored import Better, Meanings
from tracker.domain.run_notes import RunNotes
from tracker.results.views import RUNS, SCORES
from tracker.tables import BY_CODE


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One quantity of one component in one run.

    `has_x`: x is a coordinate, which may be 0. `better`: whether high or low is better; None for
    effects of either sign. `no_interval`: why the score has no interval, unless there are too few
    items.
    """

    component: Component
    quantity: Quantity
    x: float
    n: int
    skipped: int
    mean: float | None
    sem: float | None
    ci_low: float | None
    ci_high: float | None
    has_x: bool = False
    better: Better | None = None
    headline: bool = False  # whether its analysis shows it first
    no_interval: str = ""

    @property
    def key(self) -> ScoreKey:
        return ScoreKey(self.component, self.quantity, self.x)

    @property
    def coordinate(self) -> str:
        """x as text if it is a coordinate, else empty: a rank of 0 is shown, a missing rank not."""
        return f"{self.x:g}" if self.has_x or self.x else ""


def scores(
    session: Session,
    run_id: UUID,
    *,
    kind: Kind | None = None,
    metric: str | None = None,
    condition: str | None = None,
) -> list[ScoreLine]:
    """The scores of a run, sorted by component, metric and coordinate; empty until it succeeds.

    The headline of the analysis comes first in each component. Of a metric at several sites, the
    output of heads comes first.
    """
    stored = session.scalar(select(RUNS.c.notes).where(RUNS.c.run_id == run_id))
    notes = RunNotes.from_json(stored)
    headline = notes.headline or Quantity("")
    score = SCORES.c
    query = (
        select(SCORES)
        .where(score.run_id == run_id)
        .order_by(
            score.kind,
            score.layer,
            score.index,
            tuple_(score.metric, score.condition) != (headline.metric, headline.condition),
            collate(score.metric, BY_CODE),
            score.site != OUTPUT,
            collate(score.site, BY_CODE),
            collate(score.condition, BY_CODE),
            score.x,
        )
    )
    if kind:
        query = query.where(score.kind == kind.value)
    if metric:
        query = query.where(score.metric == metric)
    if condition is not None:
        query = query.where(score.condition == condition)
    rows = [(_key(row), row) for row in session.execute(query)]
    descriptions = _Descriptions(notes, [key for key, _ in rows])
    return [_score(key, row, descriptions) for key, row in rows]


class _Descriptions:
    """The descriptions of the scores of a run.

    If the analysis does not describe a score, x is taken for a coordinate unless it is 0 in all
    scores of the same quantity and kind of component.
    """

    def __init__(self, notes: RunNotes, keys: Sequence[ScoreKey]) -> None:
        self._meanings = Meanings(notes.scores)
        self._headline = notes.headline and notes.headline.at_any_site
        self._with_x = {_kind_and_quantity(key) for key in keys if key.x}

    def of(self, key: ScoreKey) -> dict[str, Any]:
        stored = self._meanings.of(key)
        return {
            "has_x": bool(stored.x) if stored else _kind_and_quantity(key) in self._with_x,
            "better": stored.better if stored else None,
            "headline": key.quantity.at_any_site == self._headline,
            "no_interval": stored.no_interval if stored else "",
        }


def _key(row: Any) -> ScoreKey:
    component = Component(kind=Kind(row.kind), layer=row.layer, index=row.index)
    return ScoreKey(component, Quantity(row.metric, row.site, row.varied), row.x)


def _kind_and_quantity(key: ScoreKey) -> tuple[Kind, Quantity]:
    return key.component.kind, key.quantity


def _score(key: ScoreKey, row: Any, descriptions: _Descriptions) -> ScoreLine:
    return ScoreLine(
        component=key.component,
        quantity=key.quantity,
        x=key.x,
        n=row.n,
        skipped=row.skipped,
        mean=row.mean,
        sem=row.sem,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        **descriptions.of(key),
    )


def strongest(lines: Sequence[ScoreLine], count: int) -> list[ScoreLine]:
    """The `count` best scores of the headline quantity, or of the first quantity, at any site.

    They are the highest or lowest, whichever is better; otherwise the largest in absolute value.
    """
    with_mean = [line for line in lines if line.mean is not None]
    if not with_mean:
        return []
    first = next((line for line in with_mean if line.headline), with_mean[0])
    quantity = first.quantity.at_any_site
    same_quantity = [line for line in with_mean if line.quantity.at_any_site == quantity]
    return sorted(same_quantity, key=lambda line: (_rank(line), line.component))[:count]


def _rank(line: ScoreLine) -> float:
    """A sort key: lower is stronger."""
    mean = line.mean or 0.0
    return {"high": -mean, "low": mean}.get(line.better or "", -abs(mean))


def without_interval(lines: Sequence[ScoreLine]) -> list[str]:
    """Why some scores have no interval: one sentence for each metric."""
    reasons = {line.quantity.metric: line.no_interval for line in lines if line.no_interval}
    return [f"{metric} has no interval: {reason}." for metric, reason in reasons.items()]


COLUMNS = (
    *("kind", "layer", "index"),
    *("metric", "site", "condition", "x"),
    *("n", "skipped", "mean", "sem", "ci_low", "ci_high", "no_interval"),
)


def as_row(line: ScoreLine) -> dict[str, object]:
    """A score as a flat row with the columns `COLUMNS`, in full precision."""
    component, quantity = line.component, line.quantity
    key = {
        "kind": component.kind.value,
        "layer": component.layer,
        "index": component.index,
        "metric": quantity.metric,
        "site": quantity.site,
        "condition": quantity.condition,
    }
    return {**key, **{column: getattr(line, column) for column in COLUMNS[len(key) :]}}


def as_csv(lines: Sequence[ScoreLine]) -> str:
    """Scores as CSV with a header; text that could be a formula is prefixed by an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for line in lines:
        writer.writerow({name: in_csv(value) for name, value in as_row(line).items()})
    return text.getvalue()
