"""Upgrades a database to the schema of this version: roles, then migrations and views."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from tracker.database import postgres_session, views
from tracker.database.rights import guard
from tracker.database.sqlstates import Meaning, meaning
from tracker.database.unreachable import UnreachableDatabase, not_connected
from tracker.domain import Role
from tracker.errors import TrackerError
from tracker.secrets.urls import first_line, without_psycopg

ROLES = tuple(role.value for role in Role)
_LOCKED = ("40P01", "55P03")  # deadlock, lock timeout
_POLL_EVERY = 0.25  # seconds between two checks of the sessions that block a migration
Migrate = Callable[[Config, str], None]

# Without a guard: ends the readers that this user may end (pg_signal_backend, or their role).
_END_READERS = f"""
SELECT pg_terminate_backend(blocking) FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking
JOIN pg_stat_activity AS reader ON reader.pid = blocking
WHERE waiting.wait_event_type = 'Lock' AND waiting.usename = current_user
  AND reader.usename <> current_user AND pg_has_role(reader.usesysid, '{Role.READER}', 'USAGE')
"""

# Roles belong to the whole cluster: an upgrade of another database may create them concurrently.
_MAKE_ROLE = """
DO $$ BEGIN
  CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""


class NoRoles(TrackerError):
    def __init__(self, missing: list[str]) -> None:
        statements = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing)
        super().__init__(
            f"The roles {', '.join(missing)} are missing, and this user may not create them. "
            f"Ask its administrator to run: {statements}"
        )


class NotMigratable(TrackerError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database cannot be upgraded to the schema of this version: {reason}. "
            "Run the upgrade as the owner of the database, with the latest headbook."
        )


class NotMigratableNow(TrackerError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database cannot be upgraded to the schema of this version now: {reason}. "
            "Nothing was changed. Run `headbook db upgrade` again in a moment."
        )


def ensure_roles(connection: Connection, roles: Sequence[str] = ROLES) -> None:
    """Create missing roles. Raises `NoRoles` if this user may not."""
    existing = set(connection.scalars(text("SELECT rolname FROM pg_roles")))
    missing = [role for role in roles if role not in existing]
    try:
        for role in missing:
            connection.execute(text(_MAKE_ROLE.format(role=role)))
        connection.commit()
    except ProgrammingError as error:
        connection.rollback()
        raise NoRoles(missing) from error


def upgrade(database_url: str) -> None:
    """Create roles and upgrade the schema to the latest revision. Safe to run repeatedly."""
    migrate(database_url, "head")


def migrate(database_url: str, revision: str) -> None:
    """Upgrade or downgrade the schema to `revision`.

    If it is up to date already, no right to change it is needed. Raises `BadDatabaseUrl`,
    `UnreachableDatabase`, `RefusedByDatabase`, `UnfitDatabase`, `NoRoles`, `NotMigratable`,
    `NotMigratableNow`, `ViewsInUse` and `ViewNameTaken`.
    """
    config = Config()
    config.set_main_option("script_location", "migrations:")
    engine = postgres_session.engine(database_url)
    try:
        with engine.connect() as connection:
            current = _revision(connection)
            if current is None:
                postgres_session.check_fit(connection)
            ensure_roles(connection)
            if revision == "head" and current == _latest(config) and views.up_to_date(connection):
                return
        how = command.downgrade if revision == "base" else command.upgrade
        apply(engine, config, how, revision)
    except DBAPIError as error:
        raise _not_migrated(error, database_url) from error
    except CommandError as error:  # an unknown revision
        raise NotMigratable(f"{error}; was it made by a newer version?") from error
    finally:
        engine.dispose()


def _not_migrated(error: DBAPIError, database_url: str) -> TrackerError:
    original = error.orig or error
    state = _sqlstate(error)
    if not state:
        return not_connected(original, without_psycopg(database_url))
    if meaning(state) is Meaning.AWAY:
        return UnreachableDatabase(original)
    reason = first_line(original)
    if state in _LOCKED:
        return NotMigratableNow(f"its tables are in use: {reason}")
    return NotMigratableNow(reason) if _is_temporary(error) else NotMigratable(reason)


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _is_temporary(error: BaseException) -> bool:
    """Whether a retry may succeed: after a lock is released, or after a failover."""
    if not isinstance(error, DBAPIError):
        return False
    return meaning(_sqlstate(error)) in (Meaning.BUSY, Meaning.READ_ONLY)


@retry(
    retry=retry_if_exception(_is_temporary),
    wait=wait_fixed(0.5),
    stop=stop_after_delay(60),
    reraise=True,
)
def apply(engine: Engine, config: Config, how: Migrate, revision: str) -> None:
    """Migrate up or down to `revision` in one transaction, while workers work.

    If it times out on a worker's lock (see `migrations/env.py`), it is retried.
    """
    with engine.connect() as connection, _ending_readers(engine):
        config.attributes["connection"] = connection
        how(config, revision)


@contextmanager
def _ending_readers(engine: Engine) -> Iterator[None]:
    """Within the block, end the sessions of readers that block a migration, but never workers."""
    done = Event()

    def end_blocking() -> None:
        with suppress(DBAPIError), engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            while not done.wait(_POLL_EVERY):
                with suppress(DBAPIError):  # sessions that this user may not end are waited for
                    guarded = connection.scalar(text(guard.may_call(guard.TEND)))
                    connection.execute(text(f"SELECT {guard.TEND}" if guarded else _END_READERS))

    thread = Thread(target=end_blocking, name="end blocking readers")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _latest(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _revision(connection: Connection) -> str | None:
    """The revision of the schema; None if there is no schema, or this user cannot read it."""
    readable = "SELECT has_table_privilege(to_regclass('headbook.alembic_version')::oid, 'SELECT')"
    if not connection.scalar(text(readable)):
        return None
    revisions = connection.scalars(text("SELECT version_num FROM headbook.alembic_version"))
    return revisions.one_or_none()
