"""What servers, databases and roles set for sessions changes no value and no statement of ours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from plain_connection import connect as plain
from sqlalchemy import make_url, text

from migrations import drift
from tracker.database import db, postgres_session, schema
from tracker.database.db import transaction
from tracker.database.postgres_session import BadDatabaseUrl, UnfitDatabase

HOSTILE = {
    "DateStyle": "German, DMY",
    "TimeZone": "Asia/Kolkata",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "extra_float_digits": "-3",
    "bytea_output": "escape",
    "search_path": "headbook, evil",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "row_security": "off",
    "default_transaction_isolation": "serializable",
}


class Cluster:
    """Makes databases, and drops them in the end."""

    def __init__(self, url: str) -> None:
        self.admin, self.made = make_url(url), list[str]()

    def database(self, options: str = "") -> str:
        name = f"foreign_{uuid4().hex[:8]}"
        self.made.append(name)
        self.run(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def url(self, name: str, **more: Any) -> str:
        return self.admin.set(database=name, **more).render_as_string(hide_password=False)

    def run(self, statement: str) -> None:
        with plain(self.admin.render_as_string(hide_password=False)) as connection:
            connection.execute(statement)


@pytest.fixture
def cluster(server_urls: dict[str, str]) -> Iterator[Cluster]:
    made = Cluster(server_urls["postgres"])
    yield made
    for name in made.made:
        made.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def hostile(cluster: Cluster) -> str:
    """A database whose sessions begin in every other way than those of a plain one."""
    url = cluster.database()
    name = make_url(url).database
    for setting, value in HOSTILE.items():
        listed = value if setting == "search_path" else f"'{value}'"
        cluster.run(f"ALTER DATABASE {name} SET {setting} = {listed}")
    with plain(url) as connection:
        connection.execute("CREATE SCHEMA evil; CREATE TABLE evil.run (x int)")
    return url


def test_values_come_as_they_are_from_a_database_that_sends_them_otherwise(hostile: str) -> None:
    sessions = db.connect(hostile)
    noon = datetime(2024, 7, 4, 12, tzinfo=UTC)
    sent = {
        "moment": noon,
        "length": timedelta(days=-1, seconds=3.5),
        "number": 0.1 + 0.2,  # 0.30000000000000004: the last of its 17 digits counts
        "bytes": b"\x00\\\xff",
        "words": "\N{GREEK SMALL LETTER ALPHA} → ‖β‖ \\n",
        "list": [None, "NULL"],
    }
    with transaction(sessions) as session:
        row = session.execute(
            text(
                "SELECT CAST(:moment AS timestamptz) AS moment,"
                " CAST(:length AS interval) AS length, CAST(:number AS float8) AS number,"
                " CAST(:bytes AS bytea) AS bytes,"
                " CAST(:words AS text) AS words, CAST(:list AS text[]) AS list"
            ),
            sent,
        ).one()
        literal = session.scalar(text(r"SELECT 'a\b' || (ARRAY['{a,NULL}'::text[]])[1][2]"))
    db.close(sessions)
    assert dict(row._mapping) == sent
    assert row.moment.utcoffset() == timedelta(0)
    assert literal is None  # 'a\b' has three characters, and NULL in an array is NULL


def test_statements_are_written_for_one_isolation_level(hostile: str) -> None:
    sessions = db.connect(hostile)
    with transaction(sessions) as session:
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert session.scalar(text("SELECT current_schemas(false)")) == ["public"]
    db.close(sessions)


def test_the_schema_is_the_same_in_a_database_with_another_search_path(
    cluster: Cluster, hostile: str
) -> None:
    schema.upgrade(hostile)
    assert drift.compare_tables(hostile) == []
    cluster.run(f"ALTER DATABASE {make_url(hostile).database} RESET ALL")  # pg_dump has its own
    with plain(hostile) as connection:
        connection.execute("DROP SCHEMA evil CASCADE")
    assert drift.compare_dump(drift.dump(hostile), write=False) == []


def test_a_role_that_is_named_like_the_schema_makes_the_same_schema(cluster: Cluster) -> None:
    """Of such a user `"$user"` in Postgres' own search path is our schema."""
    url = cluster.database()
    cluster.run("CREATE ROLE headbook LOGIN SUPERUSER PASSWORD 'of its own'")
    try:
        name = make_url(url).database
        own = cluster.url(str(name), username="headbook", password="of its own")
        schema.upgrade(own)
        assert drift.compare_tables(own) == []
        assert drift.compare_dump(drift.dump(own), write=False) == []
    finally:
        cluster.run(f"DROP DATABASE {name} WITH (FORCE)")
        cluster.made.clear()
        cluster.run("DROP ROLE headbook")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused_before_anything_is_made(
    cluster: Cluster, encoding: str
) -> None:
    url = cluster.database(
        f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    with pytest.raises(UnfitDatabase, match=rf"encoding is {encoding}.*ENCODING 'UTF8'"):
        schema.upgrade(url)
    with plain(url) as connection:
        assert not connection.execute("SELECT to_regnamespace('headbook')").fetchone()[0]


def test_a_database_that_is_closed_for_writing_is_left_closed(cluster: Cluster) -> None:
    """As providers do it whose disk is nearly full, or who hand over to another server."""
    url = cluster.database()
    cluster.run(f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")
    with pytest.raises(UnfitDatabase, match="it is read-only"):
        schema.upgrade(url)


def test_a_user_who_may_make_no_schema_is_told_what_to_ask_for(cluster: Cluster) -> None:
    name = str(make_url(cluster.database()).database)
    cluster.run("CREATE ROLE ada LOGIN PASSWORD 'lovelace'")
    try:
        with pytest.raises(UnfitDatabase, match=f'GRANT CREATE ON DATABASE "{name}" TO "ada"'):
            schema.upgrade(cluster.url(name, username="ada", password="lovelace"))
    finally:
        cluster.run("DROP ROLE ada")


@pytest.mark.parametrize(
    "url", ["postgresql://ada:hunter2 db/h", "postgres:/ada:hunter2@db/h", "mysql+nothing://h/db"]
)
def test_an_address_that_cannot_be_one_is_refused_without_being_shown(url: str) -> None:
    for ask in (schema.upgrade, db.connect, postgres_session.engine):
        with pytest.raises(BadDatabaseUrl, match="not a valid Postgres URL") as caught:
            ask(url)
        assert "hunter2" not in str(caught.value)
