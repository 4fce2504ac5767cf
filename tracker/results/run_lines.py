"""Runs as shown in lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tracker.domain import RunState
from tracker.results.views import RUNS, STUDY_RUNS


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run as shown in lists."""

    id: UUID
    analysis: str
    analysis_version: int
    engine_version: int
    model: str
    model_revision: str
    dtype: str
    distribution: str
    distribution_hash: str
    recipe: Mapping[str, Any]  # all fields of the recipe of its prompts
    params: Mapping[str, Any]
    seed: int
    state: RunState
    reason: str | None
    done: int  # prompts measured so far
    n_prompts: int
    stopping: bool  # it was cancelled, but a part is still in progress
    attempt: int
    max_attempts: int
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None  # from start to end, or until now
    mlflow_experiment_id: str | None
    mlflow_run_id: str | None
    published: bool

    @property
    def ended(self) -> bool:
        return self.finished_at is not None


# The columns of the view that are fields of `RunLine` under the same name.
_SHOWN = [RUNS.c[name] for name in RunLine.__dataclass_fields__ if name in RUNS.c]
_END = func.coalesce(RUNS.c.finished_at, func.clock_timestamp())
LINE = (
    RUNS.c.run_id,
    *_SHOWN,
    RUNS.c.cancel_requested_at,
    func.extract("epoch", _END - RUNS.c.started_at).label("seconds"),
)


def line_of(row: Any) -> RunLine:
    """The run of a row with the columns `LINE`."""
    shown = {column.name: getattr(row, column.name) for column in _SHOWN}
    return RunLine(
        **shown
        | {
            "id": row.run_id,
            "state": RunState(row.state),
            "stopping": row.cancel_requested_at is not None and row.finished_at is None,
            "seconds": None if row.seconds is None else float(row.seconds),
        }
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
    """The newest runs that match all filters, newest first; without filters, all runs.

    An empty `states` means every state.
    """
    newest_first = RUNS.c.created_at.desc(), RUNS.c.run_id
    query = select(*LINE).order_by(*newest_first).limit(limit)
    if states:
        query = query.where(RUNS.c.state.in_(list(states)))
    if analysis:
        query = query.where(RUNS.c.analysis == analysis)
    if ids is not None:
        query = query.where(RUNS.c.run_id.in_(list(ids)))
    if study:
        query = query.join(STUDY_RUNS, STUDY_RUNS.c.run_id == RUNS.c.run_id)
        query = query.where(STUDY_RUNS.c.study_id == study)
    return [line_of(row) for row in session.execute(query)]
