"""What a worker that has nothing to do finds for itself, whether it was rung for or not."""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from tracker.domain import PublicationState
from tracker.domain.wakeups import HELP_WITH_RUN, PUBLISH_RUN, Ring
from tracker.store import parts, publications
from tracker.tables import PublicationRow


def next_errand(session: Session, ring: Ring | None, *, worker: str) -> Ring | None:
    """A run that waits for this worker, else a publication that is due, else None.

    A ring is a hint: it decides between runs that wait alike, and names a publication whose turn
    the dispatcher has taken.
    """
    hint = None if ring is None else ring.run_id
    if waiting := parts.waiting_runs(session, loaded=(), hint=hint, worker=worker, limit=1):
        return Ring(HELP_WITH_RUN, waiting[0])
    if ring is not None and ring.task == PUBLISH_RUN and _unpublished(session, ring):
        return ring
    due = publications.due(session, limit=1)
    return Ring(PUBLISH_RUN, due[0]) if due else None


def _unpublished(session: Session, ring: Ring) -> bool:
    pending = exists().where(
        PublicationRow.run_id == ring.run_id, PublicationRow.state == PublicationState.PENDING
    )
    return bool(session.scalar(select(pending)))
