"""Wakes workers up for runs and publications that are due, and reaps parts of lost workers."""

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

_TEND_EVERY = 1.0  # seconds between two checks of readers
_REMOVE_EVERY = 10.0  # seconds between two searches for unneeded chunks


def wake_due(app: Celery, sessions: Sessions) -> int:
    """Send wake-ups for due runs and publications, after the commit. Returns the number sent.

    A worker that is woken up works until nothing is waiting, so one unread wake-up per worker is
    enough; no more are sent. If the broker rejects or loses one, its row is due again a little
    later.
    """
    with transaction(sessions) as session:
        room = max(1, workers.live(session))
    try:
        room -= broker.unread(app)
        if room <= 0:
            return 0
        due = _due(sessions, room)
        for wake, run_id in due:
            wake(app, run_id)
    except TrackerError:
        raise
    except Exception as error:  # each transport has exceptions of its own
        log.warning("the broker accepts no wake-ups", error=str(error))
        return 0
    return len(due)


def _due(sessions: Sessions, room: int) -> list[tuple[broker.Wake, UUID]]:
    with transaction(sessions) as session:
        due = runs.take_due(session, limit=room)
        unpublished = publications.due(session, limit=max(1, room - len(due)))
    wakes: list[tuple[broker.Wake, UUID]] = [(broker.wake, run_id) for run_id in due]
    return wakes + [(broker.wake_to_publish, run_id) for run_id in unpublished]


def reap(sessions: Sessions) -> list[UUID]:
    """Take back every part whose lease has expired. Returns the runs of these parts."""
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
    """Delete a batch of tensor chunks that no run needs any more. Returns their number."""
    with transaction(sessions) as session:
        return part_tensors.remove_unneeded_chunks(session)


def tend_readers(sessions: Sessions) -> int:
    """End sessions of readers that exceed their limits. Returns their number."""
    try:
        with transaction(sessions) as session:
            ended = readers.tend(session)
    except TrackerError as error:  # the dispatcher's own work goes on
        log.warning("readers could not be checked", error=str(error))
        return 0
    if ended:
        log.warning("ended sessions of readers that exceeded their limits", sessions=ended)
    return ended


def dispatch_forever(
    app: Celery, sessions: Sessions, *, every: float, reap_every: float, grace: float
) -> None:
    """Wake workers up and reap parts until the process ends, through outages of the servers.

    Times are in seconds. At the start and after each outage, workers get `grace` seconds to renew
    their leases before parts are reaped.
    """
    announced = False
    next_reap = time.monotonic() + grace
    next_tend = next_removal = 0.0
    while True:
        try:
            wake_due(app, sessions)
            announced = announced or readiness.announce()
            if time.monotonic() >= next_tend:
                next_tend = time.monotonic() + _TEND_EVERY
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
