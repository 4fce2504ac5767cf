"""The scores of a run, each with what its analysis says of it."""

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

    `has_x` says that x is a coordinate, which may be 0; `better` which way is better, None for an
    effect of either sign; `no_interval` why there is none, where that is not for want of items.
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
        """x, where it is a coordinate: a rank of 0, but not the 0 of what has no rank."""
        return f"{self.x:g}" if self.has_x or self.x else ""


def scores(
    session: Session,
    run_id: UUID,
    *,
    kind: Kind | None = None,
    metric: str | None = None,
    condition: str | None = None,
) -> list[ScoreLine]:
    """The scores of a run, by component, metric and coordinate; none before it has succeeded.

    Of each component, the score that its analysis calls the headline comes first; of a metric at
    several sites, that of what heads give.
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
    said = _Said(notes, [key for key, _ in rows])
    return [_score(key, row, said) for key, row in rows]


class _Said:
    """What is known of the scores of a run.

    Where its analysis says nothing of a score, x is a coordinate if it is not 0 in all that differ
    from it in x and component alone.
    """

    def __init__(self, notes: RunNotes, keys: Sequence[ScoreKey]) -> None:
        self._meanings = Meanings(notes.scores)
        self._headline = notes.headline and notes.headline.at_any_site
        self._with_x = {_alike(key) for key in keys if key.x}

    def of(self, key: ScoreKey) -> dict[str, Any]:
        said = self._meanings.of(key)
        return {
            "has_x": bool(said.x) if said else _alike(key) in self._with_x,
            "better": said.better if said else None,
            "headline": key.quantity.at_any_site == self._headline,
            "no_interval": said.no_interval if said else "",
        }


def _key(row: Any) -> ScoreKey:
    component = Component(kind=Kind(row.kind), layer=row.layer, index=row.index)
    return ScoreKey(component, Quantity(row.metric, row.site, row.varied), row.x)


def _alike(key: ScoreKey) -> tuple[Kind, Quantity]:
    return key.component.kind, key.quantity


def _score(key: ScoreKey, row: Any, said: _Said) -> ScoreLine:
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
        **said.of(key),
    )


def strongest(lines: Sequence[ScoreLine], count: int) -> list[ScoreLine]:
    """The best of one quantity at any site: of the headline where it is there, or of the first.

    The highest or the lowest, as is better; where neither is, the largest of either sign.
    """
    known = [line for line in lines if line.mean is not None]
    if not known:
        return []
    first = next((line for line in known if line.headline), known[0])
    what = first.quantity.at_any_site
    alike = [line for line in known if line.quantity.at_any_site == what]
    return sorted(alike, key=lambda line: (_place(line), line.component))[:count]


def _place(line: ScoreLine) -> float:
    mean = line.mean or 0.0
    return {"high": -mean, "low": mean}.get(line.better or "", -abs(mean))


def without_interval(lines: Sequence[ScoreLine]) -> list[str]:
    """Why some of the scores have no interval, a sentence for each metric."""
    reasons = {line.quantity.metric: line.no_interval for line in lines if line.no_interval}
    return [f"{metric} has no interval: {reason}." for metric, reason in reasons.items()]


COLUMNS = (
    *("kind", "layer", "index"),
    *("metric", "site", "condition", "x"),
    *("n", "skipped", "mean", "sem", "ci_low", "ci_high", "no_interval"),
)


def as_row(line: ScoreLine) -> dict[str, object]:
    """A score as a flat row under `COLUMNS`, every digit kept."""
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
    """Scores as CSV with a header; a text that would be a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for line in lines:
        writer.writerow({name: in_csv(value) for name, value in as_row(line).items()})
    return text.getvalue()
