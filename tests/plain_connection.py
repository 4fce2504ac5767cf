"""Postgres without the product in between."""

import time
from typing import Any

import psycopg


def plain(url: str) -> str:
    """The address as Postgres' own tools take it."""
    return url.replace("+psycopg", "")


def connect(url: str) -> psycopg.Connection[Any]:
    """A plain connection, each statement its own transaction."""
    return psycopg.connect(plain(url), autocommit=True)


def cut_all(url: str) -> None:
    """End every other connection to this database."""
    with connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def still_connected(url: str, *, seconds: float = 15) -> list[str]:
    """Other connections to this database that do not end by themselves; a server ends them late."""
    with connect(url) as connection:
        end = time.monotonic() + seconds
        while (left := _others(connection)) and time.monotonic() < end:
            time.sleep(0.01)
    return left


def _others(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute(
        "SELECT format('%s %s: %s, %s', pid, application_name, state, query) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    return [said for (said,) in rows]


def empty(connection: psycopg.Connection[Any]) -> None:
    """Remove the rows of all tables of the schema."""
    tables = connection.execute(
        "SELECT string_agg(format('headbook.%I', tablename), ', ') FROM pg_tables"
        " WHERE schemaname = 'headbook' AND tablename NOT IN ('alembic_version', 'view_file')"
    ).fetchone()
    assert tables
    connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY")
