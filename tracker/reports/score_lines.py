"""The scores of a run."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from analyses.results import OUTPUT, Component, Kind
from tracker.tables import ComponentRow, RunRow, ScoreRow


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One metric of one component in one run."""

    component: Component
    metric: str
    site: str
    condition: str
    x: float
    n: int
    skipped: int
    mean: float | None
    sem: float | None
    ci_low: float | None
    ci_high: float | None


def scores(
    session: Session, run_id: UUID, *, kind: Kind | None = None, metric: str | None = None
) -> list[ScoreLine]:
    """The scores of a run, by component, metric and coordinate; none before it has succeeded.

    Of each component, the score that its analysis calls the headline comes first; of a metric at
    several sites, that of what heads give.
    """
    notes = session.scalar(select(RunRow.notes).where(RunRow.id == run_id)) or {}
    headline = tuple(notes.get("headline") or ("", ""))
    query = (
        select(ScoreRow, ComponentRow)
        .join(ComponentRow, ComponentRow.id == ScoreRow.component_id)
        .where(ScoreRow.run_id == run_id)
        .order_by(
            ComponentRow.kind,
            ComponentRow.layer,
            ComponentRow.index,
            tuple_(ScoreRow.metric, ScoreRow.condition) != headline,
            ScoreRow.metric,
            ScoreRow.site != OUTPUT,
            ScoreRow.site,
            ScoreRow.condition,
            ScoreRow.x,
        )
    )
    if kind:
        query = query.where(ComponentRow.kind == kind)
    if metric:
        query = query.where(ScoreRow.metric == metric)
    return [_score(row, component) for row, component in session.execute(query)]


def _score(row: ScoreRow, component: ComponentRow) -> ScoreLine:
    return ScoreLine(
        component=Component(
            kind=Kind(component.kind), layer=component.layer, index=component.index
        ),
        metric=row.metric,
        site=row.site,
        condition=row.condition,
        x=row.x,
        n=row.n,
        skipped=row.skipped,
        mean=row.mean,
        sem=row.sem,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
    )


def strongest(lines: Sequence[ScoreLine], count: int) -> list[ScoreLine]:
    """The scores with the largest absolute means."""
    known = [line for line in lines if line.mean is not None]
    return sorted(known, key=lambda line: (-abs(line.mean or 0.0), line.component))[:count]


COLUMNS = (
    *("kind", "layer", "index"),
    *("metric", "site", "condition", "x"),
    *("n", "skipped", "mean", "sem", "ci_low", "ci_high"),
)


def as_row(line: ScoreLine) -> dict[str, object]:
    """A score as a flat row under `COLUMNS`, every digit kept."""
    component = line.component
    place = {"kind": component.kind.value, "layer": component.layer, "index": component.index}
    return {**place, **{column: getattr(line, column) for column in COLUMNS[len(place) :]}}


def as_csv(lines: Sequence[ScoreLine]) -> str:
    """Scores as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(map(as_row, lines))
    return text.getvalue()
