"""The scores of a run, each with what its analysis says of it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import collate, select, tuple_
from sqlalchemy.orm import Session

from analyses import stored
from analyses.results import OUTPUT, Component, Kind, ScoreKey
from analyses.shown import in_csv
from analyses.stored import Better, Meanings, Stored
from tracker.tables import BY_CODE, ComponentRow, RunRow, ScoreRow


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One metric of one component in one run.

    `varied` says that x is a coordinate, which may be 0; `better` which way is better, None for an
    effect of either sign; `no_interval` why there is none, where that is not for want of items.
    """

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
    varied: bool = False
    better: Better | None = None
    headline: bool = False  # whether its analysis shows it first
    no_interval: str = ""

    @property
    def key(self) -> ScoreKey:
        return ScoreKey(
            component=self.component,
            metric=self.metric,
            site=self.site,
            condition=self.condition,
            x=self.x,
        )

    @property
    def coordinate(self) -> str:
        """x, where it is a coordinate: a rank of 0, but not the 0 of what has no rank."""
        return f"{self.x:g}" if self.varied or self.x else ""


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
            collate(ScoreRow.metric, BY_CODE),
            ScoreRow.site != OUTPUT,
            collate(ScoreRow.site, BY_CODE),
            collate(ScoreRow.condition, BY_CODE),
            ScoreRow.x,
        )
    )
    if kind:
        query = query.where(ComponentRow.kind == kind)
    if metric:
        query = query.where(ScoreRow.metric == metric)
    if condition is not None:
        query = query.where(ScoreRow.condition == condition)
    rows = session.execute(query).all()
    said = _Said(stored.from_json(notes.get("scores") or ()), headline, rows)
    return [_score(row, component, said) for row, component in rows]


class _Said:
    """What is known of the scores of a run.

    Where its analysis says nothing of a score, x is a coordinate if it is not 0 in all that differ
    from it in x and component alone.
    """

    def __init__(
        self, stores: Sequence[Stored], headline: tuple[str, ...], rows: Sequence[Any]
    ) -> None:
        self._meanings = Meanings(stores)
        self._headline = headline
        self._varied = {_alike(row, component) for row, component in rows if row.x}

    def of(self, row: ScoreRow, component: ComponentRow) -> dict[str, Any]:
        key = ScoreKey(
            component=_component(component),
            metric=row.metric,
            site=row.site,
            condition=row.condition,
            x=row.x,
        )
        said = self._meanings.of(key)
        return {
            "varied": bool(said.x) if said else _alike(row, component) in self._varied,
            "better": said.better if said else None,
            "headline": (row.metric, row.condition) == self._headline,
            "no_interval": said.no_interval if said else "",
        }


def _alike(row: ScoreRow, component: ComponentRow) -> tuple[str, ...]:
    return component.kind, row.metric, row.site, row.condition


def _component(row: ComponentRow) -> Component:
    return Component(kind=Kind(row.kind), layer=row.layer, index=row.index)


def _score(row: ScoreRow, component: ComponentRow, said: _Said) -> ScoreLine:
    return ScoreLine(
        component=_component(component),
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
        **said.of(row, component),
    )


def strongest(lines: Sequence[ScoreLine], count: int) -> list[ScoreLine]:
    """The best of one metric under one condition: the headline's where it is there, or the first's.

    The highest or the lowest, as is better; where neither is, the largest of either sign.
    """
    known = [line for line in lines if line.mean is not None]
    if not known:
        return []
    first = next((line for line in known if line.headline), known[0])
    what = first.metric, first.condition
    alike = [line for line in known if (line.metric, line.condition) == what]
    return sorted(alike, key=lambda line: (_place(line), line.component))[:count]


def _place(line: ScoreLine) -> float:
    mean = line.mean or 0.0
    return {"high": -mean, "low": mean}.get(line.better or "", -abs(mean))


def without_interval(lines: Sequence[ScoreLine]) -> list[str]:
    """Why some of the scores have no interval, a sentence for each metric."""
    reasons = {line.metric: line.no_interval for line in lines if line.no_interval}
    return [f"{metric} has no interval: {reason}." for metric, reason in reasons.items()]


COLUMNS = (
    *("kind", "layer", "index"),
    *("metric", "site", "condition", "x"),
    *("n", "skipped", "mean", "sem", "ci_low", "ci_high", "no_interval"),
)


def as_row(line: ScoreLine) -> dict[str, object]:
    """A score as a flat row under `COLUMNS`, every digit kept."""
    component = line.component
    place = {"kind": component.kind.value, "layer": component.layer, "index": component.index}
    return {**place, **{column: getattr(line, column) for column in COLUMNS[len(place) :]}}


def as_csv(lines: Sequence[ScoreLine]) -> str:
    """Scores as CSV with a header; a text that would be a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for line in lines:
        writer.writerow({name: in_csv(value) for name, value in as_row(line).items()})
    return text.getvalue()
