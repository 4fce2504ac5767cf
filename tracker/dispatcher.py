"""Rings workers for what waits in the database, and takes back what lost workers held."""

import time
from uuid import UUID

from celery import Celery
from structlog import get_logger

from tracker import broker
from tracker.db import Sessions, transaction
from tracker.schema import UnreachableDatabase
from tracker.store import endings, parts, publications, runs

log = get_logger(__name__)


def ring_due(app: Celery, sessions: Sessions) -> int:
    """Ring for every due run and publication, after the commit; how many rings went out.

    A ring that the broker does not take is not lost: its row is due again a little later.
    """
    with transaction(sessions) as session:
        due = runs.ring_due(session)
        unpublished = publications.due(session)
    bells = [(broker.ring, each) for each in due]
    bells += [(broker.ring_to_publish, each) for each in unpublished]
    rung = 0
    for bell, run_id in bells:
        try:
            bell(app, run_id)
            rung += 1
        except Exception as error:  # the transport's errors are many; the row rings again
            log.warning("the broker took no ring", run_id=str(run_id), error=str(error))
            break
    return rung


def reap(sessions: Sessions) -> list[UUID]:
    """Take back every part whose lease ran out; the runs they belong to."""
    with transaction(sessions) as session:
        lost = parts.expired(session)
    reaped = []
    for run_id, number in lost:
        with transaction(sessions) as session:
            if endings.reap(session, run_id, number):
                log.warning("part taken back from a lost worker", run_id=str(run_id), part=number)
                reaped.append(run_id)
    return reaped


def dispatch_forever(app: Celery, sessions: Sessions, *, every: float, reap_every: float) -> None:
    """Ring and reap until the process ends; outages of database or broker are waited out."""
    last_reap = float("-inf")
    while True:
        try:
            ring_due(app, sessions)
            if time.monotonic() - last_reap >= reap_every:
                last_reap = time.monotonic()
                reap(sessions)
        except UnreachableDatabase as error:
            log.warning("waiting for the database", error=str(error))
        except Exception:
            log.exception("dispatching failed; trying again")
        time.sleep(every)
