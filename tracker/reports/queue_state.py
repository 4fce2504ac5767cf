"""The queue as a whole: what waits, and who works."""

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
    """How many runs are in each state, how many MLflow does not show as ended, how many
    wait because no worker has the memory for them, and the workers."""

    runs: Mapping[RunState, int]
    unpublished: int
    too_large: int
    workers: tuple[WorkerLine, ...]


def counts_by_state(session: Session) -> dict[RunState, int]:
    """How many runs are in each state; every state is there."""
    query = select(RunRow.state, func.count()).group_by(RunRow.state)
    found = dict(session.execute(query).all())
    return {state: found.get(state.value, 0) for state in RunState}


def queue_state(session: Session) -> QueueState:
    return QueueState(
        runs=counts_by_state(session),
        unpublished=len(publications.pending(session)),
        too_large=memory.count_too_large(session),
        workers=tuple(workers(session)),
    )
