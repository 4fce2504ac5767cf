"""The door to Postgres: an engine, sessions, one transaction at a time."""

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

# A worker frozen inside a transaction must not hold its locks for ever: without these limits the
# reaper would skip its part as locked. Others wait for a lock longer than it can be held so.
LIMITS = {
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",  # passed over by servers before Postgres 17
    "lock_timeout": "15s",
    "statement_timeout": "30s",
    # A plan that was made for a short queue is slow on a long one; planning costs less than that.
    "plan_cache_mode": "force_custom_plan",
}
PATIENCE = 45.0  # seconds a worker tries one transaction; its lease is longer
_SHOWN = 60  # characters of a text that cannot be kept
_TRIES = 3  # of a transaction that failed for a reason that nobody knows

Notice = Callable[[TrackerError], None]


class BusyDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"The database cannot do it now: {first_line(error)}. Try again in a moment."
        )


class ReadOnlyDatabase(BusyDatabase):
    """A failover is under way, or a connection leads to a server that has handed over."""


class TroubledDatabase(TrackerError):
    """What it says is neither known to pass nor to stay."""

    def __init__(self, error: BaseException, sqlstate: str) -> None:
        super().__init__(
            f"The database failed: {first_line(error)} (SQLSTATE {sqlstate}). If it "
            "does so again, the log of the server says more."
        )


class ForbiddenByDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"This database user may not do that: {first_line(error)}. Use the address of a member "
            "of headbook_worker; that of a reader only reads the views of schema results."
        )


class NotMigrated(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "The database does not have the tables and views of this version. "
            "Run `headbook db upgrade`."
        )


class NotText(TrackerError):
    def __init__(self, error: BaseException) -> None:
        held = one_line(getattr(error, "object", ""), most=_SHOWN)
        super().__init__(
            f"What was given cannot be kept{held and f': {held}'}. The database takes no NUL "
            "characters and no bytes that are no UTF-8 (such as in file names of another encoding, "
            "shown as \\udc80 to \\udcff). Write it without them."
        )


def connect(database_url: str | URL, *, pool_size: int = 3) -> Sessions:
    """Sessions on a database. Nothing is opened before the first use.

    Raises `BadDatabaseUrl`.
    """
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
    """Raise what waiting would not change, such as a wrong password; an outage is passed over."""

    def look() -> None:
        with transaction(sessions) as session:
            session.execute(text("SELECT FROM headbook.run LIMIT 0"))

    try:
        repeated(look, again=lambda _error: False)
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

    Raises `UnreachableDatabase`, `RefusedByDatabase`, `BusyDatabase`, `NotMigrated`, `NotText`,
    `ForbiddenByDatabase` and `TroubledDatabase` in place of the driver's errors.
    """
    try:
        with sessions.begin() as session:
            yield session
    except UnicodeEncodeError as error:  # raised by the driver before anything is sent
        raise NotText(error) from error
    except (DBAPIError, psycopg.Error) as error:  # a COPY is the driver's own
        translated = _translated(error, sessions)
        if translated is None:
            raise
        raise translated from error


def _translated(error: DBAPIError | psycopg.Error, sessions: Sessions) -> TrackerError | None:
    """What the code means; None for what only a change of the program would mend."""
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
            if not lost:  # the driver's own: nobody has thrown the connections away
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
    """NUL is refused by the driver, or in JSON by the server, as are halves of surrogate pairs."""
    if state in ("22021", "22P05"):
        return True
    said = str(error)
    return isinstance(error, psycopg.DataError) and ("NUL" in said or "surrogate" in said)


def _conninfo(sessions: Sessions) -> str:
    """How the driver is asked to connect."""
    engine = sessions.kw["bind"]
    _, given = engine.dialect.create_connect_args(engine.url)
    return psycopg.conninfo.make_conninfo(**{key: given[key] for key in given if key != "context"})


def passes(error: BaseException) -> bool:
    """Whether the same transaction may succeed a little later: a schema may be on its way, too."""
    return isinstance(error, UnreachableDatabase | BusyDatabase | NotMigrated)


def patiently(sessions: Sessions, work: Callable[[Session], T]) -> T:
    """Do `work` in one transaction, again and again through a short outage or an upgrade.

    A commit whose answer was lost is done twice: `work` must stand that, as fenced writes do.
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
    """What it gives, tried for so many seconds while what it raises is to be tried `again`.

    What nobody knows is tried a few times. `notice` is told of every failure before the last.
    """

    def may_pass(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        unknown = isinstance(error, TroubledDatabase) and state.attempt_number < _TRIES
        return error is not None and (unknown or again(error))

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if notice is not None and isinstance(error, TrackerError):
            notice(error)

    retrying = Retrying(
        retry=may_pass,
        wait=wait_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(seconds),
        before_sleep=tell,
        reraise=True,
    )
    return retrying(once)
