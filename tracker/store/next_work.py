"""What an idle worker should do next, whether a wake-up has arrived or not."""

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from tracker.domain import PublicationState
from tracker.domain.wakeups import HELP_WITH_RUN, PUBLISH_RUN, Wakeup
from tracker.store import parts, proofs, publications, shared_gpus
from tracker.tables import PublicationRow

NO_RUN = UUID(int=0)  # whatever the run, a worker proves models first, and frees memory last


def next_work(session: Session, wakeup: Wakeup | None, *, worker: str) -> Wakeup | None:
    """A proof or a part that this worker may claim, else a publication that is due, else None.

    A wake-up is a hint: it decides between runs that are equally urgent, or names a publication
    that the dispatcher has marked as requested.
    """
    if proofs.any_waits(session, worker=worker) or shared_gpus.has_to_make_room(
        session, worker=worker
    ):
        return Wakeup(HELP_WITH_RUN, NO_RUN)
    hint = None if wakeup is None else wakeup.run_id
    if waiting := parts.waiting_runs(session, loaded=(), hint=hint, worker=worker, limit=1):
        return Wakeup(HELP_WITH_RUN, waiting[0])
    if wakeup is not None and wakeup.task == PUBLISH_RUN and _unpublished(session, wakeup):
        return wakeup
    due = publications.due(session, limit=1)
    return Wakeup(PUBLISH_RUN, due[0]) if due else None


def _unpublished(session: Session, wakeup: Wakeup) -> bool:
    pending = exists().where(
        PublicationRow.run_id == wakeup.run_id, PublicationRow.state == PublicationState.PENDING
    )
    return bool(session.scalar(select(pending)))
