"""Postgres without the product in between."""

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
