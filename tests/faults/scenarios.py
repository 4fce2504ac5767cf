"""What goes wrong in a fixed order, for the product as it is and for mutations of it.

Each scenario ends as the product would end it, with a reaper and a worker without faults, and says
what is wrong when all is over: nothing, unless the product is mutated.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from psycopg.errors import UniqueViolation

from tracker.database import db
from tracker.database.db import BusyDatabase, Sessions, transaction
from tracker.domain import PartClaim, PartKind
from tracker.queueing import dispatcher
from tracker.store import endings, next_work, parts, runs
from tracker.store.parts import LeaseLost

from . import moves
from .checker import violations
from .interleaving import nested

IDLE = "1s"  # Postgres' limit for a transaction in which nothing happens
PATIENCE = 4.0  # seconds that something may take that is bound to happen


def cancelled_while_the_last_part_ends(sessions: Sessions) -> list[str]:
    """A person cancels between a worker's fence and its commit of the last part."""
    run = moves.queue(sessions, of=moves.facts(sessions), cut=moves.PROMPTS)
    claimed = moves.claim(sessions, run.id)
    nested(
        sessions,
        before=lambda session: parts.fence(session, claimed, lease=60),
        within=lambda session: runs.cancel(session, run.id),
        after=lambda session: endings.finish_part(session, claimed, provenance={}),
    )
    return _in_the_end(sessions)


def last_two_parts_end_at_once(sessions: Sessions) -> list[str]:
    """Two workers end the last two parts, each before the other has committed."""
    run = moves.queue(sessions, of=moves.facts(sessions))
    first, second = moves.claim(sessions, run.id, "w1"), moves.claim(sessions, run.id, "w2")
    nested(
        sessions,
        before=lambda session: moves.end_part(session, first, run.model_id),
        within=lambda session: moves.end_part(session, second, run.model_id),
        after=lambda session: None,
    )
    return _in_the_end(sessions)


def zombie_commits(sessions: Sessions) -> list[str]:
    """A worker that was taken for lost commits what it has measured."""
    run = moves.queue(sessions, of=moves.facts(sessions))
    zombie = moves.claim(sessions, run.id, "zombie", lease=0)
    assert dispatcher.reap(sessions)
    with suppress(LeaseLost):
        moves.commit_part(sessions, zombie, run.model_id)
    return _in_the_end(sessions)


def worker_is_lost(sessions: Sessions) -> list[str]:
    """A worker claims a part and is never heard of again."""
    run = moves.queue(sessions, of=moves.facts(sessions))
    moves.claim(sessions, run.id, "lost", lease=0)
    return _in_the_end(sessions)


def bell_is_lost(sessions: Sessions) -> list[str]:
    """The broker loses a ring; a worker is rung again, or looks at the queue by itself."""
    moves.queue(sessions, of=moves.facts(sessions))
    assert _rung(sessions)
    if _comes(lambda: _rung(sessions) or _looked(sessions)):
        go_on(sessions)
    return _found(sessions)


def click_is_repeated(sessions: Sessions) -> list[str]:
    """A form is sent twice, the second time before the first is committed."""
    asked = moves.request(of=moves.facts(sessions), nonce="click")
    nested(
        sessions,
        before=lambda session: runs.insert_run(session, **asked),
        within=lambda session: runs.insert_run(session, **asked),
        after=lambda session: None,
    )
    return _in_the_end(sessions)


def worker_freezes_in_a_transaction(sessions: Sessions) -> list[str]:
    """A worker stops for ever between its fence and its commit, with the run's row locked."""
    run = moves.queue(sessions, of=moves.facts(sessions))
    claimed = moves.claim(sessions, run.id, "frozen", lease=0.1)
    workers, reapers = (_with_limits(sessions, lock_timeout="500ms") for _ in range(2))
    try:
        with workers() as frozen:
            parts.fence(frozen, claimed, lease=0.1)
            if _comes(lambda: _reaped(reapers)):
                go_on(sessions)
            frozen.invalidate()
        return _found(sessions)
    finally:
        db.close(workers)
        db.close(reapers)


def clock_is_wrong(sessions: Sessions) -> list[str]:
    """A worker whose clock is an hour fast claims a part and is never heard of again."""
    run = moves.queue(sessions, of=moves.facts(sessions))
    moves.claim(sessions, run.id, "fast", lease=0.1)
    if _comes(lambda: _reaped(sessions)):
        go_on(sessions)
    return _found(sessions)


def fast_clock() -> datetime:
    """What a worker's own clock would say in the last scenario."""
    return datetime.now(UTC) + timedelta(hours=1)


def go_on(sessions: Sessions) -> None:
    """Reap and work without faults, until nothing is lost or waits."""
    while dispatcher.reap(sessions) or _worked(sessions):
        pass


def _in_the_end(sessions: Sessions) -> list[str]:
    go_on(sessions)
    return _found(sessions)


def _found(sessions: Sessions) -> list[str]:
    return violations(sessions, unpublished_is_lost=False)


def _worked(sessions: Sessions) -> bool:
    """Do a part that waits, as `execution` does it: what it cannot commit ends as failed."""
    with transaction(sessions) as session:
        waiting = parts.waiting_runs(session, loaded=(), hint=None, limit=1)
    if not waiting:
        return False
    claimed = moves.claim(sessions, waiting[0], "healthy")
    try:
        _commit(sessions, claimed)
    except UniqueViolation as error:
        with transaction(sessions) as session:
            endings.fail(session, claimed, reason=type(error).__name__)
    return True


def _commit(sessions: Sessions, claimed: PartClaim) -> None:
    with transaction(sessions) as session:
        run = runs.run(session, claimed.run_id)
    if claimed.kind is PartKind.FINISH:
        moves.commit_run(sessions, claimed, run)
    else:
        moves.commit_part(sessions, claimed, run.model_id)


def _rung(sessions: Sessions) -> bool:
    with transaction(sessions) as session:
        return bool(runs.take_due(session))


def _looked(sessions: Sessions) -> bool:
    with transaction(sessions) as session:
        return next_work.next_work(session, None, worker="healthy") is not None


def _reaped(sessions: Sessions) -> bool:
    try:
        return bool(dispatcher.reap(sessions))
    except BusyDatabase:  # somebody holds a lock
        return False


def _comes(happens: Callable[[], bool]) -> bool:
    """Whether it happens in the time that it may take."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if happens():
            return True
        time.sleep(0.02)
    return False


def _with_limits(sessions: Sessions, **limits: str) -> Sessions:
    """Sessions with short limits, of those that the product has."""
    name = "idle_in_transaction_session_timeout"
    short = db.LIMITS | limits | ({name: IDLE} if name in db.LIMITS else {})
    before, db.LIMITS = db.LIMITS, short
    try:
        made = db.beside(sessions)
        with transaction(made) as session:
            session.connection()
    finally:
        db.LIMITS = before
    return made
