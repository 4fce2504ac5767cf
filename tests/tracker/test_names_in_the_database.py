"""Nobody writes a name around the door, and an upgrade takes what older versions let in."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from plain_connection import connect as plain
from sqlalchemy import make_url

from analyses.names import checked
from tracker.database import schema
from tracker.domain import Model

UNSEEN = {
    "escape sequence": "a\x1b[31mb",
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "C1 control": "a\x9bb",
    "override": "a\u202eb",
    "isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "byte order mark": "a\ufeffb",
    "tag": "a\U000e0041b",
    "empty": "",
    "long": "a" * 100_000,
}


@pytest.mark.parametrize("name", UNSEEN.values(), ids=UNSEEN.keys())
def test_the_database_takes_no_name_that_cannot_be_seen(
    database_url: str, model: Model, name: str
) -> None:
    with plain(database_url) as connection:
        for statement in (
            "UPDATE headbook.model SET name = %s",
            f"INSERT INTO headbook.study (id, name, created_by) VALUES ('{uuid4()}', %s, 'ada')",
            f"INSERT INTO headbook.study (id, name, created_by) VALUES ('{uuid4()}', 'scan', %s)",
            "INSERT INTO headbook.worker (name, host, pid, device) VALUES (%s, 'h', 1, 'cpu')",
            "INSERT INTO headbook.distribution (hash, name, spec, size) VALUES ('h', %s, '{}', 1)",
        ):
            with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
                connection.execute(statement, [name])


@pytest.fixture
def old_database(server_urls: dict[str, str]) -> Iterator[str]:
    """A database as it was before names were checked."""
    admin, name = make_url(server_urls["postgres"]), f"old_{uuid4().hex[:8]}"
    url = admin.set(database=name).render_as_string(hide_password=False)
    with plain(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        schema.migrate(url, "0016")
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


MODEL = """
INSERT INTO headbook.model (name, ref, revision, dtype, fingerprint, family, n_layers, n_heads,
  n_kv_heads, d_model, d_head, d_vocab)
VALUES (%s, %s, '0', 'float32', '0', 'llama', 1, 1, 1, 1, 1, 1) RETURNING id
"""
DISTRIBUTION = """
INSERT INTO headbook.distribution (hash, name, spec, size) VALUES ('0', E'a\\x1bb', '{}', 1)
RETURNING id
"""
RUN = """
INSERT INTO headbook.run (id, fingerprint, analysis, analysis_version, engine_version, params,
  model_id, distribution_id, seed, priority, state, n_prompts, n_parts, created_by)
VALUES (%s, %s, 'attribution', 1, 1, '{}', %s, %s, 0, 3, 'queued', 1, 1, %s)
"""


def test_an_upgrade_makes_names_such_as_a_person_can_type(old_database: str) -> None:
    """A name from a path of macOS is decomposed, and what is typed is composed."""
    given = {"e\u0301tude": "\u00e9tude", " two  spaces ": "two spaces", "--draft": "draft"}
    with plain(old_database) as connection:
        for number, name in enumerate([*given, "plain", "a  b", "a b"]):
            connection.execute(MODEL, [name, str(number)])
            connection.execute(
                "INSERT INTO headbook.study (id, name, created_by) VALUES (%s, %s, 'ada')",
                [uuid4(), name],
            )
    schema.migrate(old_database, "0017")
    with plain(old_database) as connection:
        for table in ("model", "study"):
            rows = connection.execute(f"SELECT name FROM headbook.{table}")
            found = {name for (name,) in rows}
            assert found > {*given.values(), "plain", "a b"}
            assert all(name == checked(table, name) for name in found)
            assert len(found) == 6
    schema.migrate(old_database, "0016")


def test_an_upgrade_mends_old_names_and_keeps_runs_that_have_ended(old_database: str) -> None:
    ended, waiting = uuid4(), uuid4()
    with plain(old_database) as connection:
        models = [
            connection.execute(MODEL, [name, str(number)]).fetchone()[0]
            for number, name in enumerate(["m" * 100_000, "\x1b[31mred", "fine", "m" * 99_999])
        ]
        (distribution,) = connection.execute(DISTRIBUTION).fetchone()
        connection.execute(
            "INSERT INTO headbook.study (id, name, created_by) VALUES (%s, %s, %s), (%s, 'b', 'c')",
            [uuid4(), "scan\u202e", "ada\n", uuid4()],
        )
        for run in (ended, waiting):
            connection.execute(RUN, [run, run.hex, models[0], distribution, "\x1b]0;ada\x07" * 99])
        end = "UPDATE headbook.run SET state = 'cancelled', finished_at = now() WHERE id = %s"
        connection.execute(end, [ended])
    schema.migrate(old_database, "head")
    with plain(old_database) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM headbook.model")]
        assert sorted(names) == sorted(
            [f"{'m' * 180} {models[0]}", f"[31mred {models[1]}", "fine", f"{'m' * 180} {models[3]}"]
        )
        studies = connection.execute("SELECT name, created_by FROM headbook.study").fetchall()
        assert [name.split()[0] for name, _ in sorted(studies)] == ["b", "scan"]
        assert sorted(by for _, by in studies) == ["ada", "c"]
        by = dict(connection.execute("SELECT id, created_by FROM headbook.run").fetchall())
        assert by[ended] == "\x1b]0;ada\x07" * 99
        assert by[waiting] == ("]0;ada" * 99)[:200]
        connection.execute(
            "UPDATE headbook.run SET reason = 'it may move' WHERE id = %s", [waiting]
        )
        connection.execute(end, [waiting])
    schema.migrate(old_database, "0016")
