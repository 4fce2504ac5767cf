"""Brings a database to the schema of this version: roles, then migrations."""

from collections.abc import Sequence

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from tracker.errors import TrackerError
from tracker.urls import first_line

ROLES = ("headbook_worker", "headbook_reader")

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


class UnreachableDatabase(TrackerError):
    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The database cannot be reached: {first_line(error)}. "
            "Check DATABASE_URL, or start the embedded stack with `headbook up`."
        )


class NotMigrated(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "The database does not have the tables of this version. Run `headbook db upgrade`."
        )


class NotMigratable(TrackerError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database cannot be brought to the schema of this version: {reason}. "
            "Run it as the owner of the database, with the newest headbook."
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
    """Bring the schema to `revision`, up or down; raises `UnreachableDatabase`, `NoRoles`."""
    config = Config()
    config.set_main_option("script_location", "migrations:")
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            ensure_roles(connection)
            config.attributes["connection"] = connection
            if revision == "base":
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
    except OperationalError as error:
        raise UnreachableDatabase(error.orig or error) from error
    except ProgrammingError as error:
        raise NotMigratable(str(error.orig).strip().splitlines()[0]) from error
    except CommandError as error:  # a revision that this version does not know
        raise NotMigratable(f"{error}; is it the database of a newer version?") from error
    finally:
        engine.dispose()
