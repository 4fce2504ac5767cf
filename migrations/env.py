"""Runs migrations and creates the views: one transaction, with timeouts, one process at a time."""

import os

from alembic import context
from sqlalchemy import Connection, text

from tracker.database import postgres_session, views
from tracker.secrets.urls import with_psycopg
from tracker.tables import Row

LOCK = 7_309_458  # key of the advisory lock of everyone who migrates; an arbitrary number


def ours(name: str | None, kind: str, parent: object) -> bool:
    """Whether to compare an object: only our tables, since `results` contains only views."""
    return name == "headbook" if kind == "schema" else (kind, name) != ("table", views.RECORD)


def is_newest() -> bool:
    """Whether the schema is at the latest revision."""
    return set(context.get_context().get_current_heads()) == set(context.script.get_heads())


def migrate(connection: Connection) -> None:
    connection.execute(text("SET lock_timeout = '60s'"))
    connection.execute(text("SET statement_timeout = '10min'"))
    connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS headbook"))
    # While a migration waits for the lock of a table, everybody else queues up behind it.
    connection.execute(text("SET lock_timeout = '3s'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        version_table_schema="headbook",
        include_schemas=True,
        include_name=ours,
        compare_server_default=True,
    )
    try:
        with context.begin_transaction(), views.made_anew(connection, is_newest):
            context.run_migrations()
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
        connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    engine = postgres_session.engine(with_psycopg(os.environ["DATABASE_URL"]))
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()
