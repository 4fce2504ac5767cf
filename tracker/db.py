"""The door to Postgres: an engine, sessions, one transaction at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential

from tracker.errors import TrackerError
from tracker.schema import NotMigrated, UnreachableDatabase, not_connected
from tracker.urls import first_line

Sessions = sessionmaker[Session]
T = TypeVar("T")

# A worker frozen inside a transaction must not hold its locks for ever: without these limits the
# reaper would skip its part as locked. Others wait for a lock longer than it can be held so.
LIMITS = {
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",
    "lock_timeout": "15s",
    "statement_timeout": "30s",
}
_SINCE = {"transaction_timeout": 170_000}
PATIENCE = 45.0  # seconds a worker tries one transaction; its lease is longer

_GONE = ("08", "53", "57P")  # connection lost, no resources left, shut down
_SLOW = ("55P03", "57014", "25P03", "25P04", "40001", "40P01")  # timeouts, deadlocks
_UNDEFINED = ("42P01", "3F000", "42703")  # no such table, schema, column
_FORBIDDEN = "42501"


class BadDatabaseUrl(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL is not the address of a Postgres database. It looks like "
            "postgresql://user:password@host:5432/database, with %40 for an @ in the password."
        )


class BusyDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"The database did not answer in time: {first_line(error)}. Try again in a moment."
        )


class ForbiddenByDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"This database user may not do that: {first_line(error)}. Use the address of a member "
            "of headbook_worker; that of a reader only reads the views of schema results."
        )


def connect(database_url: str | URL, *, pool_size: int = 3) -> Sessions:
    """Sessions on a database. Nothing is opened before the first use.

    Raises `BadDatabaseUrl`.
    """
    network = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    try:
        engine = create_engine(
            database_url,
            pool_size=pool_size,
            pool_pre_ping=True,
            pool_recycle=1800,
            connect_args={"connect_timeout": 3, "tcp_user_timeout": 15_000, **network},
        )
    except (ArgumentError, ValueError, ImportError, TypeError):
        raise BadDatabaseUrl from None
    event.listen(engine, "connect", _set_limits)
    return sessionmaker(engine, expire_on_commit=False)


def _set_limits(connection: Any, _record: object) -> None:
    """Set them on a new connection, those that the server knows: one came with Postgres 17."""
    known = [name for name in LIMITS if connection.info.server_version >= _SINCE.get(name, 0)]
    for name in known:
        connection.execute(f"SET {name} = '{LIMITS[name]}'")
    # A plan that was made for a short queue is slow on a long one; planning costs less than that.
    connection.execute("SET plan_cache_mode = force_custom_plan")
    connection.commit()


def check(sessions: Sessions) -> None:
    """Raise what waiting would not change, such as a wrong password; an outage is passed over."""
    try:
        with transaction(sessions) as session:
            session.execute(text("SELECT FROM headbook.run LIMIT 0"))
    except TrackerError as error:
        if not passes(error):
            raise


def beside(sessions: Sessions) -> Sessions:
    """Sessions on the same database with connections of their own, outside the pool."""
    return connect(sessions.kw["bind"].url, pool_size=2)


def close(sessions: Sessions) -> None:
    """Give back the pooled connections."""
    sessions.kw["bind"].dispose()


@contextmanager
def transaction(sessions: Sessions) -> Iterator[Session]:
    """Commit at the end of the block, roll back when it raises.

    Raises `UnreachableDatabase`, `RefusedByDatabase`, `BusyDatabase`, `NotMigrated` and
    `ForbiddenByDatabase` in place of the driver's errors.
    """
    try:
        with sessions.begin() as session:
            yield session
    except (DBAPIError, psycopg.Error) as error:  # a COPY is the driver's own
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error


def _translated(error: DBAPIError | psycopg.Error) -> TrackerError | None:
    original = error.orig or error if isinstance(error, DBAPIError) else error
    state = str(getattr(original, "sqlstate", None) or "")
    if state in _SLOW:
        return BusyDatabase(original)
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    if state.startswith(_GONE) or (not state and invalidated):
        return UnreachableDatabase(original)
    if not state and isinstance(original, psycopg.OperationalError | psycopg.InterfaceError):
        return not_connected(original)
    if state in _UNDEFINED:
        return NotMigrated()
    return ForbiddenByDatabase(original) if state == _FORBIDDEN else None


def passes(error: BaseException) -> bool:
    """Whether the same transaction may succeed a little later: a schema may be on its way, too."""
    return isinstance(error, UnreachableDatabase | BusyDatabase | NotMigrated)


@retry(
    retry=retry_if_exception(passes),
    wait=wait_exponential(multiplier=0.2, max=5),
    stop=stop_after_delay(PATIENCE),
    reraise=True,
)
def patiently(sessions: Sessions, work: Callable[[Session], T]) -> T:
    """Do `work` in one transaction, again and again through a short outage or an upgrade.

    A commit whose answer was lost is done twice: `work` must stand that, as fenced writes do.
    """
    with transaction(sessions) as session:
        return work(session)
