"""The queue as a whole: what waits, and who works."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from tracker.domain import RunState
from tracker.reports.run_lines import counts_by_state
from tracker.reports.worker_lines import WorkerLine, workers
from tracker.store import publications


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """How many runs are in each state, how many MLflow does not show as ended, and the workers."""

    runs: Mapping[RunState, int]
    unpublished: int
    workers: tuple[WorkerLine, ...]


def queue_state(session: Session) -> QueueState:
    return QueueState(
        runs=counts_by_state(session),
        unpublished=len(publications.pending(session)),
        workers=tuple(workers(session)),
    )
