"""The door to Postgres: an engine, sessions, one transaction at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from tracker.schema import NotMigrated, UnreachableDatabase

Sessions = sessionmaker[Session]

# A worker frozen inside a transaction must not hold its locks for ever: without these limits the
# reaper would skip its part as locked.
LIMITS = {
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
}
_SINCE = {"transaction_timeout": 170_000}
_GONE = ("08", "53", "57")  # connection lost, no resources left, shut down or cancelled
_UNDEFINED = ("42P01", "3F000", "42703")  # no such table, schema, column


def connect(database_url: str | URL, *, pool_size: int = 3) -> Sessions:
    """Sessions on a database. Nothing is opened before the first use."""
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 3,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    event.listen(engine, "connect", _set_limits)
    return sessionmaker(engine, expire_on_commit=False)


def _set_limits(connection: Any, _record: object) -> None:
    """Set them on a new connection, those that the server knows: one came with Postgres 17."""
    known = [name for name in LIMITS if connection.info.server_version >= _SINCE.get(name, 0)]
    for name in known:
        connection.execute(f"SET {name} = '{LIMITS[name]}'")
    connection.commit()


def alone(sessions: Sessions) -> Sessions:
    """Sessions on the same database with a connection of their own, outside the pool."""
    return connect(sessions.kw["bind"].url, pool_size=1)


def close(sessions: Sessions) -> None:
    """Give back the pooled connections."""
    sessions.kw["bind"].dispose()


@contextmanager
def transaction(sessions: Sessions) -> Iterator[Session]:
    """Commit at the end of the block, roll back when it raises.

    Raises `UnreachableDatabase` and `NotMigrated` in place of the driver's errors.
    """
    try:
        with sessions.begin() as session:
            yield session
    except OperationalError as error:
        state = getattr(error.orig, "sqlstate", None)
        if error.orig is not None and (state is None or state[:2] in _GONE):
            raise UnreachableDatabase(error.orig) from error
        raise
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) in _UNDEFINED:
            raise NotMigrated from error
        raise
