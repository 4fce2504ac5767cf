"""Brings a database to the schema of this version: roles, then migrations and views."""

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
_LOCKED = ("40P01", "55P03")  # by a deadlock, by who holds a lock for too long
_LOOK = 0.25  # seconds between two looks at whom a migration waits for
Migrate = Callable[[Config, str], None]

# Where there is no guard: whom this user may end, as a member of pg_signal_backend or their role.
_END_READERS = f"""
SELECT pg_terminate_backend(blocking) FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking
JOIN pg_stat_activity AS reader ON reader.pid = blocking
WHERE waiting.wait_event_type = 'Lock' AND waiting.usename = current_user
  AND reader.usename <> current_user AND pg_has_role(reader.usesysid, '{Role.READER}', 'USAGE')
"""

# Roles belong to the cluster: another database may be making them at this moment.
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
            f"The database lacks the roles {', '.join(missing)} and this user may not make them. "
            f"Ask its administrator to run: {statements}"
        )


class NotMigratable(TrackerError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database cannot be brought to the schema of this version: {reason}. "
            "Run it as the owner of the database, with the newest headbook."
        )


class NotMigratableNow(TrackerError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database cannot be brought to the schema of this version now: {reason}. "
            "Nothing was changed. Run `headbook db upgrade` again in a moment."
        )


def ensure_roles(connection: Connection, roles: Sequence[str] = ROLES) -> None:
    """Make the cluster's roles where they are missing; raises `NoRoles` where that is forbidden."""
    have = set(connection.scalars(text("SELECT rolname FROM pg_roles")))
    missing = [role for role in roles if role not in have]
    try:
        for role in missing:
            connection.execute(text(_MAKE_ROLE.format(role=role)))
        connection.commit()
    except ProgrammingError as error:
        connection.rollback()
        raise NoRoles(missing) from error


def upgrade(database_url: str) -> None:
    """Make roles and bring the schema to the latest revision. Safe to run twice, and at once."""
    migrate(database_url, "head")


def migrate(database_url: str, revision: str) -> None:
    """Bring the schema to `revision`, up or down.

    A schema that is there already needs no right to change it. Raises `BadDatabaseUrl`,
    `UnreachableDatabase`, `RefusedByDatabase`, `UnfitDatabase`, `NoRoles`, `NotMigratable`,
    `NotMigratableNow`, `ViewsInUse`, `ViewNameTaken`.
    """
    config = Config()
    config.set_main_option("script_location", "migrations:")
    engine = postgres_session.engine(database_url)
    try:
        with engine.connect() as connection:
            there = _revision(connection)
            if there is None:
                postgres_session.check_fit(connection)
            ensure_roles(connection)
            if revision == "head" and there == _newest(config) and views.up_to_date(connection):
                return
        how = command.downgrade if revision == "base" else command.upgrade
        apply(engine, config, how, revision)
    except DBAPIError as error:
        raise _not_migrated(error, database_url) from error
    except CommandError as error:  # a revision that this version does not know
        raise NotMigratable(f"{error}; is it the database of a newer version?") from error
    finally:
        engine.dispose()


def _not_migrated(error: DBAPIError, database_url: str) -> TrackerError:
    original = error.orig or error
    state = _sqlstate(error)
    if not state:
        return not_connected(original, without_psycopg(database_url))
    if meaning(state) is Meaning.AWAY:
        return UnreachableDatabase(original)
    said = first_line(original)
    if state in _LOCKED:
        return NotMigratableNow(f"its tables are in use: {said}")
    return NotMigratableNow(said) if _gives_way(error) else NotMigratable(said)


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _gives_way(error: BaseException) -> bool:
    """Whether another try may succeed: somebody held a lock, or a standby has yet to take over."""
    if not isinstance(error, DBAPIError):
        return False
    return meaning(_sqlstate(error)) in (Meaning.BUSY, Meaning.READ_ONLY)


@retry(
    retry=retry_if_exception(_gives_way),
    wait=wait_fixed(0.5),
    stop=stop_after_delay(60),
    reraise=True,
)
def apply(engine: Engine, config: Config, how: Migrate, revision: str) -> None:
    """Migrate up or down to `revision` in one transaction, while workers work.

    One that gives way to a worker, as `migrations/env.py` has it, is tried again.
    """
    with engine.connect() as connection, _readers_give_way(engine):
        config.attributes["connection"] = connection
        how(config, revision)


@contextmanager
def _readers_give_way(engine: Engine) -> Iterator[None]:
    """Within the block, readers are ended whom a migration waits for; workers never are."""
    over = Event()

    def end_them() -> None:
        with suppress(DBAPIError), engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            while not over.wait(_LOOK):
                with suppress(DBAPIError):  # whom this user may not end is waited for
                    guarded = connection.scalar(text(guard.may_call(guard.TEND)))
                    connection.execute(text(f"SELECT {guard.TEND}" if guarded else _END_READERS))

    thread = Thread(target=end_them, name="readers give way")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _newest(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _revision(connection: Connection) -> str | None:
    """The revision the schema has; None where there is no schema, or it may not be seen."""
    there = "SELECT has_table_privilege(to_regclass('headbook.alembic_version')::oid, 'SELECT')"
    if not connection.scalar(text(there)):
        return None
    have = connection.scalars(text("SELECT version_num FROM headbook.alembic_version"))
    return have.one_or_none()
