"""Rings workers for what waits in the database, and takes back what lost workers held."""

import time
from uuid import UUID

from celery import Celery
from structlog import get_logger

from tracker.database.db import Sessions, transaction
from tracker.errors import TrackerError
from tracker.home import readiness
from tracker.queueing import broker
from tracker.store import endings, part_tensors, parts, publications, readers, runs, workers

log = get_logger(__name__)

_TEND_EVERY = 1.0  # seconds between two looks at what readers do
_REMOVE_EVERY = 10.0  # seconds between two looks for chunks of tensors that can go


def ring_due(app: Celery, sessions: Sessions) -> int:
    """Ring for due runs and publications, after the commit; how many rings went out.

    A worker that is rung for works until nothing waits, so as many rings as there are workers
    are enough: while so many still hang, no more are added. A ring that the broker does not take,
    or loses, is not lost: its row is due again a little later.
    """
    with transaction(sessions) as session:
        room = max(1, workers.live(session))
    try:
        room -= broker.hanging(app)
        if room <= 0:
            return 0
        bells = _due(sessions, room)
        for ring, run_id in bells:
            ring(app, run_id)
    except TrackerError:
        raise
    except Exception as error:  # the transports' errors are many
        log.warning("the broker takes no rings", error=str(error))
        return 0
    return len(bells)


def _due(sessions: Sessions, room: int) -> list[tuple[broker.Ring, UUID]]:
    with transaction(sessions) as session:
        due = runs.ring_due(session, limit=room)
        unpublished = publications.due(session, limit=max(1, room - len(due)))
    bells: list[tuple[broker.Ring, UUID]] = [(broker.ring, each) for each in due]
    return bells + [(broker.ring_to_publish, each) for each in unpublished]


def reap(sessions: Sessions) -> list[UUID]:
    """Take back every part whose lease ran out; the runs they belong to."""
    with transaction(sessions) as session:
        lost = parts.runs_with_lost_parts(session)
    reaped = []
    for run_id in lost:
        with transaction(sessions) as session:
            taken = endings.reap(session, run_id)
        if taken:
            log.warning("parts taken back from lost workers", run_id=str(run_id), parts=taken)
            reaped.append(run_id)
    return reaped


def remove_unneeded_chunks(sessions: Sessions) -> int:
    """Delete some of the chunks of tensors that no run needs any more; how many."""
    with transaction(sessions) as session:
        return part_tensors.remove_unneeded_chunks(session)


def tend_readers(sessions: Sessions) -> int:
    """End readers that would hold up others; how many."""
    try:
        with transaction(sessions) as session:
            ended = readers.tend(session)
    except TrackerError as error:  # runs come first: the dispatcher's own work goes on
        log.warning("readers could not be looked after", error=str(error))
        return 0
    if ended:
        log.warning("readers beyond their limits were ended", sessions=ended)
    return ended


def dispatch_forever(
    app: Celery, sessions: Sessions, *, every: float, reap_every: float, grace: float
) -> None:
    """Ring and reap until the process ends; outages of database or broker are waited out.

    After an outage, and at the start, workers get `grace` seconds to renew their leases first.
    """
    announced = False
    next_reap = time.monotonic() + grace
    next_look = next_removal = 0.0
    while True:
        try:
            ring_due(app, sessions)
            announced = announced or readiness.announce()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _TEND_EVERY
                tend_readers(sessions)
            if time.monotonic() >= next_reap:
                next_reap = time.monotonic() + reap_every
                reap(sessions)
            if time.monotonic() >= next_removal and not remove_unneeded_chunks(sessions):
                next_removal = time.monotonic() + _REMOVE_EVERY
        except Exception as error:
            known = isinstance(error, TrackerError)
            log.warning("waiting for the database", error=str(error), exc_info=not known)
            next_reap = time.monotonic() + grace
        time.sleep(every)
