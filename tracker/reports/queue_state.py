"""The state of the queue as a whole: counts of runs, and the workers."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tracker.domain import RunState
from tracker.reports.worker_lines import WorkerLine, workers
from tracker.store import memory, publications
from tracker.tables import RunRow


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """The number of runs in each state and the workers."""

    runs: Mapping[RunState, int]
    unpublished: int  # ended runs that MLflow does not show as ended
    too_large: int  # runs that wait because no worker has enough memory
    workers: tuple[WorkerLine, ...]


def counts_by_state(session: Session) -> dict[RunState, int]:
    """The number of runs in each state, 0 included."""
    query = select(RunRow.state, func.count()).group_by(RunRow.state)
    counts = dict(session.execute(query).all())
    return {state: counts.get(state.value, 0) for state in RunState}


def queue_state(session: Session) -> QueueState:
    """The current state of the queue."""
    return QueueState(
        runs=counts_by_state(session),
        unpublished=len(publications.pending(session)),
        too_large=memory.count_too_large(session),
        workers=tuple(workers(session)),
    )
