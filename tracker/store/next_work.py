"""Chooses what an idle worker does next, with or without a wake-up."""

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from tracker.domain import PublicationState
from tracker.domain.wakeups import HELP_WITH_RUN, PUBLISH_RUN, Wakeup
from tracker.store import parts, proofs, publications, shared_gpus
from tracker.tables import PublicationRow

NO_RUN = UUID(int=0)  # for a proof or for freeing memory, which belong to no run


def next_work(session: Session, wakeup: Wakeup | None, *, worker: str) -> Wakeup | None:
    """A proof or part that this worker may claim, else a due publication, else None.

    A wake-up is only a hint: it breaks ties between equally urgent runs, or names a publication
    that the dispatcher has already marked as requested.
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
