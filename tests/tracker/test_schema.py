"""The schema goes up, down and up again, explains itself, and keeps roles to their own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from plain_connection import connect as plain
from sqlalchemy import create_engine, make_url, text

from migrations import drift
from tracker.database import schema
from tracker.database.db import NotMigrated, Sessions, connect, transaction
from tracker.database.schema import NoRoles, NotMigratable
from tracker.database.unreachable import UnreachableDatabase
from tracker.store import models


@pytest.fixture
def new_database(server_urls: dict[str, str]) -> Iterator[str]:
    """An empty database in the cluster that others share."""
    admin, name = make_url(server_urls["postgres"]), f"new_{uuid4().hex[:8]}"
    with plain(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield admin.set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def relations(url: str) -> list[tuple[str, ...]]:
    with plain(url) as connection:
        return connection.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables"
            " WHERE table_schema IN ('headbook', 'results') ORDER BY 1"
        ).fetchall()


def test_up_down_up_ends_where_it_began(new_database: str) -> None:
    schema.migrate(new_database, "head")
    first = drift.dump(new_database)
    schema.migrate(new_database, "base")
    assert relations(new_database) == [("headbook.alembic_version",)]
    schema.migrate(new_database, "head")
    assert drift.dump(new_database) == first
    assert ("results.head_scores",) in relations(new_database)


def test_four_processes_may_upgrade_at_once(new_database: str) -> None:
    upgrade = [
        sys.executable,
        "-c",
        "import sys; from tracker.database import schema; schema.upgrade(sys.argv[1])",
    ]
    running = [subprocess.Popen([*upgrade, new_database]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert ("headbook.run",) in relations(new_database)


def test_a_migration_gives_way_to_who_uses_a_table_and_is_tried_again(new_database: str) -> None:
    schema.migrate(new_database, "0010")
    read = "SELECT count(*) FROM headbook.run"
    with plain(new_database) as user, plain(new_database) as other, ThreadPoolExecutor(1) as pool:
        with user.transaction():
            user.execute(read)
            upgraded = pool.submit(schema.upgrade, new_database)
            time.sleep(1)
            other.execute("SET statement_timeout = '5s'")
            other.execute(read)  # waits behind the migration, and not for long
            assert not upgraded.done()
        upgraded.result(30)


def test_two_databases_of_one_cluster_share_the_roles(new_database: str, database_url: str) -> None:
    schema.upgrade(new_database)
    assert relations(new_database) == relations(database_url)


def test_migrations_make_what_the_tables_say(database_url: str) -> None:
    assert drift.compare_tables(database_url) == []


def test_a_changed_view_is_seen_as_drift(new_database: str) -> None:
    schema.upgrade(new_database)
    assert drift.compare_dump(drift.dump(new_database), write=False) == []
    with plain(new_database) as connection:
        connection.execute("ALTER VIEW results.head_scores RESET (security_barrier)")
    assert drift.compare_dump(drift.dump(new_database), write=False) != []


def test_every_table_view_and_column_has_a_comment(database_url: str) -> None:
    with plain(database_url) as connection:
        bare = connection.execute(
            """
            SELECT n.nspname, c.relname, a.attname
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE n.nspname IN ('headbook', 'results') AND c.relkind IN ('r', 'v')
              AND c.relname <> 'alembic_version'
              AND (obj_description(c.oid) IS NULL OR col_description(c.oid, a.attnum) IS NULL)
            """
        ).fetchall()
    assert bare == []


def as_role(url: str, role: str) -> psycopg.Connection:
    connection = plain(url)
    connection.execute(f"SET ROLE {role}")
    return connection


@pytest.mark.parametrize(
    "refused",
    [
        "SELECT * FROM headbook.run",
        "SELECT * FROM headbook.run_log",
        "DROP VIEW results.head_scores",
        "CREATE TABLE results.mine (x int)",
        "CREATE TABLE headbook.mine (x int)",
    ],
)
def test_the_reader_reads_results_and_nothing_else(database_url: str, refused: str) -> None:
    with as_role(database_url, "headbook_reader") as connection:
        connection.execute("SELECT * FROM results.head_scores")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(refused)


@pytest.mark.parametrize(
    "refused",
    [
        "DELETE FROM headbook.run_event",
        "DELETE FROM headbook.run_log",
        "UPDATE headbook.run_log SET line = ''",
        "UPDATE headbook.alembic_version SET version_num = '0'",
        "DROP TABLE headbook.run",
        "ALTER TABLE headbook.run DISABLE TRIGGER ALL",
    ],
)
def test_a_worker_can_neither_rewrite_history_nor_change_the_schema(
    database_url: str, refused: str
) -> None:
    with (
        as_role(database_url, "headbook_worker") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(refused)


def test_a_user_who_may_not_make_roles_is_told_what_to_ask_for(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        connection.execute(text("SET ROLE headbook_reader"))
        connection.commit()
        with pytest.raises(NoRoles, match="CREATE ROLE headbook_auditor NOLOGIN;"):
            schema.ensure_roles(connection, ["headbook_reader", "headbook_auditor"])
    engine.dispose()


def test_a_database_of_a_newer_version_is_one_sentence(new_database: str) -> None:
    schema.upgrade(new_database)
    with plain(new_database) as connection:
        connection.execute("UPDATE headbook.alembic_version SET version_num = '9999'")
    with pytest.raises(NotMigratable, match="newer version"):
        schema.upgrade(new_database)


def test_a_database_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UnreachableDatabase, match="headbook up"):
        schema.upgrade("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")


def test_an_empty_database_says_how_to_migrate_it(new_database: str) -> None:
    sessions: Sessions = connect(new_database)
    with pytest.raises(NotMigrated, match="headbook db upgrade"), transaction(sessions) as session:
        models.all_models(session)
    sessions.kw["bind"].dispose()
