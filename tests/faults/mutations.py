"""What the product does to lose and double nothing, taken away one by one.

Each mutation replaces a statement of the product, and names a scenario in which that matters.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, text, update
from sqlalchemy.orm import Session

from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import PartClaim, PartState, Run
from tracker.domain.wakeups import Wakeup
from tracker.store import endings, next_work, parts, runs
from tracker.tables import PartRow, RunRow

from . import scenarios


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """What the product is like without something, and the scenario in which that shows."""

    name: str
    mutated: Callable[[Sessions], AbstractContextManager[None]]
    scenario: Callable[[Sessions], list[str]]  # what is wrong in the end
    caught_by: str  # the invariant that does not hold then


@contextmanager
def _replaced(owner: object, name: str, by: object) -> Iterator[None]:
    """Inside the block something of the product is something else."""
    original = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, original)


def without_lock(sessions: Sessions) -> AbstractContextManager[None]:
    """Transactions that change parts read the run's row and do not hold it."""

    def lock(session: Session, run_id: UUID) -> Run | None:
        row = session.get(RunRow, run_id, populate_existing=True)
        return None if row is None else runs.to_run(row)

    return _replaced(runs, "lock", lock)


def without_fence(sessions: Sessions) -> AbstractContextManager[None]:
    """A worker writes without asking whether the part is still its own."""
    return _replaced(parts, "fence", lambda session, claim, *, lease: None)


@contextmanager
def without_rising_epoch(sessions: Sessions) -> Iterator[None]:
    """A part goes back to the queue at the same epoch, and the database lets it."""
    with without_guard(sessions), _replaced(endings, "_give_back", _give_back):
        yield


def _give_back(session: Session, run_id: UUID, which: ColumnElement[bool]) -> bool:
    waiting = {"state": PartState.QUEUED, "worker": None, "lease_expires_at": None, "done": 0}
    given = update(PartRow).where(which).values(waiting).returning(PartRow.number)
    return bool(session.scalars(given).all())


@contextmanager
def without_guard(sessions: Sessions) -> Iterator[None]:
    """The database has no rule for the epochs of parts."""
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE headbook.part DISABLE TRIGGER guard_part"))
    try:
        yield
    finally:
        with transaction(sessions) as session:
            session.execute(text("ALTER TABLE headbook.part ENABLE TRIGGER guard_part"))


@contextmanager
def without_second_ring(sessions: Sessions) -> Iterator[None]:
    """A run is rung for once, and workers do not look by themselves."""
    original = runs.take_due

    def take_due(session: Session, limit: int = 100) -> list[UUID]:
        rung = original(session, limit)
        never = update(RunRow).where(RunRow.id.in_(rung))
        session.execute(never.values(dispatch_due_at=text("'infinity'")))
        return rung

    def look(session: Session, ring: Wakeup | None, *, worker: str) -> None:
        return None

    with _replaced(runs, "take_due", take_due), _replaced(next_work, "next_work", look):
        yield


@contextmanager
def without_unique_keys(sessions: Sessions) -> Iterator[None]:
    """Nothing tells a second click from a first: without a key, ON CONFLICT finds no conflict."""
    with transaction(sessions) as session:
        index = session.scalars(
            text("SELECT pg_get_indexdef('headbook.run_fingerprint_once'::regclass)")
        ).one()
        session.execute(text("DROP INDEX headbook.run_fingerprint_once"))
        session.execute(text("ALTER TABLE headbook.run DROP CONSTRAINT run_nonce_key"))
    try:
        yield
    finally:
        with transaction(sessions) as session:
            session.execute(text("TRUNCATE headbook.run CASCADE"))
            session.execute(text("ALTER TABLE headbook.run ADD UNIQUE (nonce)"))
            session.execute(text(index))


def without_limits(sessions: Sessions) -> AbstractContextManager[None]:
    """A transaction may hold its locks for ever."""
    forever = ("idle_in_transaction_session_timeout", "transaction_timeout")
    limits = {name: value for name, value in db.LIMITS.items() if name not in forever}
    return _replaced(db, "LIMITS", limits)


def with_own_clock(sessions: Sessions) -> AbstractContextManager[None]:
    """A lease ends by the clock of the worker, not by that of Postgres."""
    original = parts.claim

    def claim(session: Session, run_id: UUID, *, worker: str, lease: float) -> PartClaim | None:
        claimed = original(session, run_id, worker=worker, lease=lease)
        until: Any = scenarios.fast_clock() + timedelta(seconds=lease)
        if claimed is not None:
            mine = update(PartRow).where(parts.held(claimed))
            session.execute(mine.values(lease_expires_at=until))
        return claimed

    return _replaced(parts, "claim", claim)


MUTATIONS = (
    Mutation(
        name="M1: no lock on the run's row",
        mutated=without_lock,
        scenario=scenarios.cancelled_while_the_last_part_ends,
        caught_by="every run ends",
    ),
    Mutation(
        name="M2: no fence",
        mutated=without_fence,
        scenario=scenarios.zombie_commits,
        caught_by="what is committed for a part is committed by who holds it, with the part's end",
    ),
    Mutation(
        name="M3: no higher epoch when a part is taken back",
        mutated=without_rising_epoch,
        scenario=scenarios.worker_is_lost,
        caught_by="epochs never fall and rise at each claim, release and reap",
    ),
    Mutation(
        name="M4: no second ring, and no look without one",
        mutated=without_second_ring,
        scenario=scenarios.bell_is_lost,
        caught_by="every run ends",
    ),
    Mutation(
        name="M5: no unique keys for what is repeated",
        mutated=without_unique_keys,
        scenario=scenarios.click_is_repeated,
        caught_by="a click makes one run, and so does a fingerprint",
    ),
    Mutation(
        name="M6: no limit for a transaction in which nothing happens",
        mutated=without_limits,
        scenario=scenarios.worker_freezes_in_a_transaction,
        caught_by="every run ends",
    ),
    Mutation(
        name="M7: leases by the worker's clock",
        mutated=with_own_clock,
        scenario=scenarios.clock_is_wrong,
        caught_by="every run ends",
    ),
)
