"""Runs as a list shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session, aliased, defer

from tracker.domain import RunState
from tracker.store.memory import waits_for_memory
from tracker.tables import (
    DistributionRow,
    ModelRow,
    PartRow,
    PublicationRow,
    RunInputRow,
    RunRow,
    StudyRunRow,
)


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run as a list shows it."""

    id: UUID
    analysis: str
    analysis_version: int
    engine_version: int
    model: str
    model_revision: str
    dtype: str
    distribution: str
    distribution_hash: str
    recipe: Mapping[str, Any]  # every field of the prompt distribution
    params: Mapping[str, Any]
    seed: int
    state: RunState
    reason: str | None
    done: int  # prompts measured so far
    n_prompts: int
    stopping: bool  # a person has cancelled it; a part is still under way
    attempt: int
    max_attempts: int
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None  # from start to end, or to now
    mlflow_experiment_id: str | None
    mlflow_run_id: str | None
    published: bool

    @property
    def ended(self) -> bool:
        return self.finished_at is not None


def counts_by_state(session: Session) -> dict[RunState, int]:
    """How many runs are in each state; every state is there."""
    query = select(RunRow.state, func.count()).group_by(RunRow.state)
    found = dict(session.execute(query).all())
    return {state: found.get(state.value, 0) for state in RunState}


def run_lines() -> Select[*tuple[Any, ...]]:
    """Runs joined with what a list shows of them; how many prompts were measured, and how long."""
    measured = func.coalesce(
        select(func.sum(PartRow.done)).where(PartRow.run_id == RunRow.id).scalar_subquery(), 0
    )
    end = func.coalesce(RunRow.finished_at, func.clock_timestamp())
    return (
        select(
            RunRow,
            ModelRow,
            DistributionRow,
            PublicationRow,
            measured.label("done"),
            func.extract("epoch", end - RunRow.started_at).label("seconds"),
            func.coalesce(waits_for_memory(), RunRow.reason, _waits_for()).label("reason"),
        )
        .join(ModelRow, ModelRow.id == RunRow.model_id)
        .join(DistributionRow, DistributionRow.id == RunRow.distribution_id)
        .join(PublicationRow, PublicationRow.run_id == RunRow.id)
    )


def _waits_for() -> ColumnElement[str | None]:
    """The runs that a run needs and that have not ended, in words; NULL where there is none."""
    needed = aliased(RunRow)
    each = func.concat(func.left(cast(needed.id, Text), 8), " (", needed.analysis, ")")
    together = func.string_agg(each, aggregate_order_by(literal(", "), RunInputRow.name))
    return (
        select(literal("waiting for run ") + together)
        .select_from(needed)
        .join(RunInputRow, RunInputRow.needs_run_id == needed.id)
        .where(RunInputRow.run_id == RunRow.id, needed.finished_at.is_(None))
        .correlate(RunRow)
        .scalar_subquery()
    )


def line_of(row: Any) -> RunLine:
    """The value of a row of `run_lines`."""
    run, model, distribution, publication, done, seconds, reason = row
    return RunLine(
        id=run.id,
        analysis=run.analysis,
        analysis_version=run.analysis_version,
        engine_version=run.engine_version,
        model=model.name,
        model_revision=model.revision,
        dtype=model.dtype,
        distribution=distribution.name,
        distribution_hash=distribution.hash,
        recipe=distribution.spec,
        params=run.params,
        seed=run.seed,
        state=RunState(run.state),
        reason=reason,
        done=int(done),
        n_prompts=run.n_prompts,
        stopping=run.cancel_requested_at is not None and run.finished_at is None,
        attempt=run.attempt,
        max_attempts=run.max_attempts,
        created_by=run.created_by,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seconds=None if seconds is None else float(seconds),
        mlflow_experiment_id=publication.mlflow_experiment_id,
        mlflow_run_id=publication.mlflow_run_id,
        published=publication.state == "published",
    )


def runs(
    session: Session,
    *,
    states: Sequence[RunState] = (),
    analysis: str | None = None,
    study: UUID | None = None,
    ids: Sequence[UUID] | None = None,
    limit: int = 100,
) -> list[RunLine]:
    """The newest runs; an empty `states` means every state, `ids` None every run."""
    newest_first = RunRow.created_at.desc(), RunRow.id
    # Chosen first: what a line shows is asked for these runs only, not for every run there is.
    chosen = select(RunRow.id).order_by(*newest_first).limit(limit)
    if states:
        chosen = chosen.where(RunRow.state.in_(list(states)))
    if analysis:
        chosen = chosen.where(RunRow.analysis == analysis)
    if ids is not None:
        chosen = chosen.where(RunRow.id.in_(list(ids)))
    if study:
        chosen = chosen.join(StudyRunRow, StudyRunRow.run_id == RunRow.id)
        chosen = chosen.where(StudyRunRow.study_id == study)
    query = run_lines().where(RunRow.id.in_(chosen)).order_by(*newest_first)
    query = query.options(defer(RunRow.notes), defer(RunRow.provenance))
    return [line_of(row) for row in session.execute(query)]
