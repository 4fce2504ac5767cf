"""Postgres sessions with the same settings, whatever the server, database or role sets."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError

from tracker.errors import TrackerError

ENCODING = "utf8"
SETTINGS = {
    "timezone": "UTC",
    # Formats of values on the wire: with others the driver fails, or loses digits.
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # How statements are parsed. Our statements write every name with its schema, so that no object
    # of the same name in another schema, such as the user's own, takes precedence.
    "search_path": "public",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "row_security": "on",
    # Conditional statements (`UPDATE … WHERE state = …`) rely on this isolation level.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}
OLDEST = 150_000  # in the format of `server_version_num`


class BadDatabaseUrl(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL is not a valid Postgres URL. Write it as "
            "postgresql://user:password@host:5432/database, with %40 for an @ in the password."
        )


class UnfitDatabase(TrackerError):
    def __init__(self, database: str, reason: str) -> None:
        super().__init__(f"The database {database!r} cannot be used: {reason}")


def engine(
    database_url: str | URL,
    *,
    limits: Mapping[str, str] | None = None,
    connect_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> Engine:
    """An engine whose sessions have our settings; it is not connected. Raises `BadDatabaseUrl`."""
    args = {"client_encoding": ENCODING, **(connect_args or {})}
    try:
        new = create_engine(database_url, connect_args=args, **options)
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

    event.listen(new, "connect", set_all, insert=True)  # before the dialect's own listeners
    return new


def check_fit(connection: Connection) -> None:
    """Raises `UnfitDatabase` if the schema could not be created or used in this database."""
    facts = connection.execute(text(_FACTS)).one()
    if facts.version < OLDEST:
        reason = f"its server is Postgres {facts.version // 10_000}. Use version 16 or newer."
    elif facts.encoding != "UTF8":
        reason = (
            f"its encoding is {facts.encoding}. Create one with CREATE DATABASE … "
            "ENCODING 'UTF8' TEMPLATE template0, and set DATABASE_URL to it."
        )
    elif facts.standby or facts.read_only == "on":
        reason = (
            "it is read-only. Set DATABASE_URL to the primary server, or ask the administrator to "
            "turn default_transaction_read_only off."
        )
    elif not facts.may_create:
        reason = (
            f"permission denied: user {facts.user!r} cannot create a schema. Ask its owner to run: "
            f'GRANT CREATE ON DATABASE "{facts.database}" TO "{facts.user}";'
        )
    else:
        return
    raise UnfitDatabase(facts.database, reason)


_FACTS = """
SELECT current_database() AS database, current_user AS "user",
  current_setting('server_version_num')::int AS version,
  current_setting('server_encoding') AS encoding,
  pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only,
  has_database_privilege(current_database(), 'CREATE')
    OR to_regnamespace('headbook') IS NOT NULL AS may_create
"""
