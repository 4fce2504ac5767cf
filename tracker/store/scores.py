"""Writes scores by COPY: those of parts while a run is in progress, those of the run at its end."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from sqlalchemy import select
from sqlalchemy.orm import Session

from analyses.bootstrap import Statistics
from analyses.quantities import Quantity
from analyses.results import Component, Kind, Measured, ScoreKey
from tracker.domain import PartClaim, Run
from tracker.store.models import component_ids
from tracker.tables import ComponentRow, PartRow, PartScoreRow, Row, ScoreRow

Vectors = Mapping[ScoreKey, NDArray[np.float32]]
_KEY = ("metric", "site", "condition", "varied", "x")


def copy_rows(
    session: Session, table: type[Row], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """COPY rows into a table within the session's transaction."""
    connection = session.connection().connection.driver_connection
    assert connection is not None
    names = ", ".join(columns)
    target = f"{Row.metadata.schema}.{table.__tablename__} ({names})"
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def insert_part_scores(
    session: Session, claim: PartClaim, model_id: int, measured: Measured
) -> None:
    """Store the scores of a part, with NULL for skipped prompts. Raises `NotANumber`."""
    measured.check_scores(range(claim.start, claim.stop))
    ids = component_ids(session, model_id, (key.component for key in measured.scores))
    rows = (
        (claim.run_id, claim.number, ids[key.component], *_key(key), _values(measured, key))
        for key in measured.scores
    )
    columns = ["run_id", "part", "component_id", *_KEY, "values"]
    copy_rows(session, PartScoreRow, columns, rows)


def joined_part_scores(session: Session, run: Run) -> dict[ScoreKey, NDArray[np.float32]]:
    """The per-prompt vectors of the whole run, joined from its parts; NULL becomes NaN.

    Each vector has shape `(prompt,)`. Prompts of a part that lacks the score are NaN.
    """
    query = (
        select(PartScoreRow, ComponentRow, PartRow.start, PartRow.stop)
        .join(ComponentRow, ComponentRow.id == PartScoreRow.component_id)
        .join(
            PartRow, (PartRow.run_id == PartScoreRow.run_id) & (PartRow.number == PartScoreRow.part)
        )
        .where(PartScoreRow.run_id == run.id)
    )
    joined: dict[ScoreKey, NDArray[np.float32]] = {}
    for row, component, start, stop in session.execute(query):
        key = score_key(row, component)
        vector = joined.setdefault(key, np.full(run.n_prompts, np.nan, dtype=np.float32))
        vector[start:stop] = _with_nan(row.values)
    return dict(sorted(joined.items()))


def vectors_and_means(
    session: Session, run_id: UUID
) -> tuple[dict[ScoreKey, NDArray[np.float32]], dict[ScoreKey, float]]:
    """The per-prompt vectors of a finished run, shape `(prompt,)`, and its means; NULL as NaN."""
    query = (
        select(ScoreRow, ComponentRow)
        .join(ComponentRow, ComponentRow.id == ScoreRow.component_id)
        .where(ScoreRow.run_id == run_id)
    )
    vectors, means = {}, {}
    for row, component in session.execute(query):
        key = score_key(row, component)
        means[key] = math.nan if row.mean is None else row.mean
        if row.values is not None:
            vectors[key] = _with_nan(row.values)
    return dict(sorted(vectors.items())), dict(sorted(means.items()))


def insert_scores(
    session: Session,
    run_id: UUID,
    model_id: int,
    scores: Mapping[ScoreKey, tuple[Statistics, NDArray[np.float32] | None]],
) -> None:
    """Store the run's scores: statistics over prompts, and per-prompt vectors if there are any."""
    ids = component_ids(session, model_id, (key.component for key in scores))
    columns = ["run_id", "component_id", *_KEY]
    columns += ["n", "skipped", "mean", "sem", "ci_low", "ci_high", "values"]
    copy_rows(session, ScoreRow, columns, _score_rows(run_id, ids, scores))


def _score_rows(
    run_id: UUID,
    ids: Mapping[Component, int],
    scores: Mapping[ScoreKey, tuple[Statistics, NDArray[np.float32] | None]],
) -> Iterator[tuple[Any, ...]]:
    for key, (statistics, values) in scores.items():
        yield (
            run_id,
            ids[key.component],
            *_key(key),
            statistics.n,
            statistics.skipped,
            statistics.mean,
            statistics.sem,
            statistics.ci_low,
            statistics.ci_high,
            None if values is None else _with_null(values),
        )


def score_key(row: PartScoreRow | ScoreRow, component: ComponentRow) -> ScoreKey:
    """The key of a row: component, quantity and coordinate x."""
    return ScoreKey(
        Component(kind=Kind(component.kind), layer=component.layer, index=component.index),
        Quantity(row.metric, row.site, row.varied),
        row.x,
    )


def _key(key: ScoreKey) -> tuple[str, str, str, Jsonb, float]:
    """The values of the columns `_KEY`."""
    quantity = key.quantity
    varied = Jsonb(dict(quantity.varied))
    return quantity.metric, quantity.site, quantity.condition, varied, key.x


def _values(measured: Measured, key: ScoreKey) -> list[float | None]:
    """The per-prompt values of a score, None for skipped prompts."""
    vector = measured.scores[key]
    return _with_null(np.where(measured.left_out(key), np.float32(np.nan), vector))


def _with_null(values: NDArray[np.float32]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _with_nan(values: Sequence[float | None]) -> NDArray[np.float32]:
    return np.asarray([np.nan if value is None else value for value in values], dtype=np.float32)
