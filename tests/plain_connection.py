"""Postgres without the product in between."""

from typing import Any

import psycopg


def connect(url: str) -> psycopg.Connection[Any]:
    """A plain connection, each statement its own transaction."""
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
