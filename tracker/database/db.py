"""Connects to Postgres: sessions, transactions, and retries through outages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from tenacity import RetryCallState, Retrying, stop_after_delay, wait_exponential

from analyses.shown import one_line
from tracker.database import postgres_session, standbys
from tracker.database.sqlstates import Meaning, meaning
from tracker.database.unreachable import UnreachableDatabase, not_connected
from tracker.errors import TrackerError
from tracker.secrets.urls import first_line

Sessions = sessionmaker[Session]
T = TypeVar("T")

# A worker that freezes inside a transaction must not hold its locks forever: without these limits
# its part would stay locked, and the reaper could not take it back. The lock timeout of the others
# is longer than such a lock can be held.
LIMITS = {
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",  # ignored by servers before Postgres 17
    "lock_timeout": "15s",
    "statement_timeout": "30s",
    # A plan cached for a short queue is slow on a long one; planning anew costs less.
    "plan_cache_mode": "force_custom_plan",
}
PATIENCE = 45.0  # seconds for which a worker retries one transaction; its lease is longer
_SHOWN = 60  # characters shown of a text that cannot be stored
_TRIES = 3  # of a transaction that failed for an unknown reason

Notice = Callable[[TrackerError], None]


class BusyDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(f"The database is busy: {first_line(error)}. Try again in a moment.")


class ReadOnlyDatabase(BusyDatabase):
    """A failover is in progress, or the connection leads to a former primary server."""


class TroubledDatabase(TrackerError):
    """An error of the database that may be temporary or permanent; retried a few times."""

    def __init__(self, error: BaseException, sqlstate: str) -> None:
        super().__init__(
            f"The database failed: {first_line(error)} (SQLSTATE {sqlstate}). If this "
            "happens again, look in the log of the server."
        )


class ForbiddenByDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"This database user lacks the rights: {first_line(error)}. Set DATABASE_URL to a user "
            "who is a member of headbook_worker; readers can only read the views of schema results."
        )


class NotMigrated(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "The database does not have the tables and views of this version. "
            "Run `headbook db upgrade`."
        )


class NotText(TrackerError):
    def __init__(self, error: BaseException) -> None:
        text = one_line(getattr(error, "object", ""), most=_SHOWN)
        super().__init__(
            f"This text cannot be stored{text and f': {text}'}. The database accepts neither NUL "
            "characters nor invalid UTF-8 (for example from file names in another encoding, shown "
            "as \\udc80 to \\udcff). Remove them."
        )


def connect(database_url: str | URL, *, pool_size: int = 3) -> Sessions:
    """Sessions on a database; connections are opened on first use. Raises `BadDatabaseUrl`."""
    network = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    engine = postgres_session.engine(
        database_url,
        limits=LIMITS,
        pool_size=pool_size,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={"connect_timeout": 3, "tcp_user_timeout": 15_000, **network},
    )
    standbys.leave(engine)
    return sessionmaker(engine, expire_on_commit=False)


def check(sessions: Sessions) -> None:
    """Raises an error that waiting would not fix, such as a wrong password; ignores outages."""

    def read() -> None:
        with transaction(sessions) as session:
            session.execute(text("SELECT FROM headbook.run LIMIT 0"))

    try:
        repeated(read, again=lambda _error: False)
    except TrackerError as error:
        if not passes(error):
            raise


def beside(sessions: Sessions) -> Sessions:
    """Sessions on the same database with a separate pool of connections."""
    return connect(sessions.kw["bind"].url, pool_size=2)


def close(sessions: Sessions) -> None:
    """Close the pooled connections."""
    sessions.kw["bind"].dispose()


@contextmanager
def transaction(sessions: Sessions) -> Iterator[Session]:
    """Commit at the end of the block, or roll back if it raises.

    Raises `UnreachableDatabase`, `RefusedByDatabase`, `BusyDatabase`, `NotMigrated`, `NotText`,
    `ForbiddenByDatabase` and `TroubledDatabase` instead of the driver's errors.
    """
    try:
        with sessions.begin() as session:
            yield session
    except UnicodeEncodeError as error:  # raised by the driver before anything is sent
        raise NotText(error) from error
    except (DBAPIError, psycopg.Error) as error:  # COPY raises the driver's errors directly
        translated = _translated(error, sessions)
        if translated is None:
            raise
        raise translated from error


def _translated(error: DBAPIError | psycopg.Error, sessions: Sessions) -> TrackerError | None:
    """Our error for the SQLSTATE; None if it is a bug of the program."""
    original = error.orig or error if isinstance(error, DBAPIError) else error
    state = str(getattr(original, "sqlstate", None) or "")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if not state and lost:
        return UnreachableDatabase(original)
    if not state and isinstance(original, psycopg.OperationalError | psycopg.InterfaceError):
        return not_connected(original, _conninfo(sessions))
    if _is_not_text(original, state):
        return NotText(original)
    match meaning(state):
        case Meaning.AWAY:
            return UnreachableDatabase(original)
        case Meaning.READ_ONLY:
            if not lost:  # raised by the driver directly: SQLAlchemy has kept the connections
                close(sessions)
            return ReadOnlyDatabase(original)
        case Meaning.BUSY:
            return BusyDatabase(original)
        case Meaning.UNDEFINED:
            return NotMigrated()
        case Meaning.FORBIDDEN:
            return ForbiddenByDatabase(original)
        case Meaning.UNKNOWN if state:
            return TroubledDatabase(original, state)
    return None


def _is_not_text(error: BaseException, state: str) -> bool:
    """Whether the text has NUL or lone surrogates, which the driver or the server refuse."""
    if state in ("22021", "22P05"):
        return True
    message = str(error)
    return isinstance(error, psycopg.DataError) and ("NUL" in message or "surrogate" in message)


def _conninfo(sessions: Sessions) -> str:
    """The connection string that the driver uses."""
    engine = sessions.kw["bind"]
    _, args = engine.dialect.create_connect_args(engine.url)
    return psycopg.conninfo.make_conninfo(**{key: args[key] for key in args if key != "context"})


def passes(error: BaseException) -> bool:
    """Whether a retry may succeed: after an outage, a failover, or a migration in progress."""
    return isinstance(error, UnreachableDatabase | BusyDatabase | NotMigrated)


def patiently(sessions: Sessions, work: Callable[[Session], T]) -> T:
    """Do `work` in one transaction, and retry it through a short outage or an upgrade.

    If the answer to a commit is lost, the work is done twice: it must be idempotent, as fenced
    writes are.
    """

    def once() -> T:
        with transaction(sessions) as session:
            return work(session)

    return repeated(once)


def repeated(
    once: Callable[[], T],
    *,
    seconds: float = PATIENCE,
    again: Callable[[BaseException], bool] = passes,
    notice: Notice | None = None,
) -> T:
    """The result of `once`, retried for `seconds` while `again` is true of the error it raises.

    Unknown database errors are retried a few times. `notice` gets every error but the last.
    """

    def should_retry(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        unknown = isinstance(error, TroubledDatabase) and state.attempt_number < _TRIES
        return error is not None and (unknown or again(error))

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if notice is not None and isinstance(error, TrackerError):
            notice(error)

    retrying = Retrying(
        retry=should_retry,
        wait=wait_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(seconds),
        before_sleep=tell,
        reraise=True,
    )
    return retrying(once)
