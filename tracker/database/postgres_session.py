"""What a session on Postgres is like, whatever the server, its databases and roles say."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError

from tracker.errors import TrackerError

ENCODING = "utf8"
SETTINGS = {
    "timezone": "UTC",
    # In what forms values are sent to the driver: it reads no others, or loses digits.
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # How statements are read. All names are written with their schema: another of the same name,
    # or one that is named like the user, must not come first.
    "search_path": "public",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "row_security": "on",
    # Statements that decide (`UPDATE … WHERE state = …`) are written for this level.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}
OLDEST = 150_000  # as `server_version_num` has it


class BadDatabaseUrl(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL is not the address of a Postgres database. It looks like "
            "postgresql://user:password@host:5432/database, with %40 for an @ in the password."
        )


class UnfitDatabase(TrackerError):
    def __init__(self, database: str, reason: str) -> None:
        super().__init__(f"The database {database!r} cannot hold runs: {reason}")


def engine(
    database_url: str | URL,
    *,
    limits: Mapping[str, str] | None = None,
    connect_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> Engine:
    """An engine whose sessions have our settings; nothing is opened. Raises `BadDatabaseUrl`."""
    given = {"client_encoding": ENCODING, **(connect_args or {})}
    try:
        made = create_engine(database_url, connect_args=given, **options)
    except (ArgumentError, ValueError, ImportError, TypeError):
        raise BadDatabaseUrl from None
    wanted = SETTINGS | dict(limits or {})

    def set_all(connection: Any, _record: object) -> None:
        connection.execute(
            "SELECT set_config(known.name, wanted, false) FROM pg_catalog.pg_settings AS known"
            " JOIN unnest(%s::text[], %s::text[]) AS ours (name, wanted)"
            " ON lower(known.name) = ours.name",
            [list(wanted), list(wanted.values())],
        )
        connection.commit()

    event.listen(made, "connect", set_all, insert=True)  # before the dialect asks who comes first
    return made


def check_fit(connection: Connection) -> None:
    """Raise `UnfitDatabase` for one in which the schema cannot be made, or could not be used."""
    found = connection.execute(text(_FACTS)).one()
    if found.version < OLDEST:
        reason = f"its server is Postgres {found.version // 10_000}. Use version 16 or newer."
    elif found.encoding != "UTF8":
        reason = (
            f"its encoding is {found.encoding}. Make another with CREATE DATABASE … "
            "ENCODING 'UTF8' TEMPLATE template0, and name that in DATABASE_URL."
        )
    elif found.standby or found.read_only == "on":
        reason = (
            "it may only be read now. Let DATABASE_URL name the primary server, or its "
            "administrator lift default_transaction_read_only."
        )
    elif not found.may_create:
        reason = (
            f"user {found.user!r} may not make a schema there. Let its owner run: "
            f'GRANT CREATE ON DATABASE "{found.database}" TO "{found.user}";'
        )
    else:
        return
    raise UnfitDatabase(found.database, reason)


_FACTS = """
SELECT current_database() AS database, current_user AS "user",
  current_setting('server_version_num')::int AS version,
  current_setting('server_encoding') AS encoding,
  pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only,
  has_database_privilege(current_database(), 'CREATE')
    OR to_regnamespace('headbook') IS NOT NULL AS may_create
"""
