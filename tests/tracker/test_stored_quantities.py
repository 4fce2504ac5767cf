"""A database of revision 0017 in which every analysis has run keeps each number, up and down.

The dump was written by the code of that revision: a small model, every analysis, a run under way,
and a run of a plugin with conditions as older versions wrote them.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from plain_connection import connect as plain
from sqlalchemy import create_engine, make_url, text

from analyses.prompts.distributions import DistributionSpec
from analyses.quantities import Quantity
from tracker import results
from tracker.database import schema
from tracker.database.db import NotMigrated, close, connect, transaction
from tracker.domain import RunRequest, RunState
from tracker.home.home import Home
from tracker.queueing import submission

DUMP = Path(__file__).parents[1] / "data" / "schema_0017.sql.gz"
BY_RUN = "ORDER BY run_id, component_id, metric, site, condition, x"
SCORES = f"""
SELECT run_id, component_id, metric, site, condition, x, n, skipped, float8send(mean),
       float8send(sem), float8send(ci_low), float8send(ci_high), array_send(values)
FROM headbook.score {BY_RUN}"""
PARTS = f"""
SELECT run_id, part, component_id, metric, site, condition, x, array_send(values)
FROM headbook.part_score {BY_RUN}, part"""
REST = "SELECT * FROM headbook.{table} ORDER BY 1, 2"
PROMPTS = """
SELECT distribution_id, number, item_key, text, labels, options, spans,
       trim(correct::text, '{}')  -- of one correct label, or of a list of them
FROM headbook.prompt ORDER BY 1, 2"""
UNTOUCHED = ("component", "run_input", "run_event", "study", "study_run")
SHOWN = """
SELECT run_id, layer, head, metric, site, condition, x, n, mean, ci_low, ci_high
FROM results.head_scores ORDER BY 1, 2, 3, 4, 5, 6, 7"""
# What texts say, by hand: of the analyses, of older versions, of plugins with names of their own.
MEANT: dict[str, dict[str, object]] = {
    "": {},
    "logit_diff": {"of": "logit_diff"},
    "source - base": {"of": "source - base"},
    "interchange": {"of": "interchange"},
    "correct_letter": {"of": "correct_letter"},
    "keys=label_0": {"keys": "label_0"},
    "by=index": {"by": "index"},
    "position=3": {"position": 3},
    "label=A": {"label": "A"},
    "label=1": {"label": "1"},
    "label=/": {"label": "/"},
    "placebo=other_tokens": {"placebo": "other_tokens"},
    "mutation=none": {"mutation": "none"},
    "share=0.5": {"share": 0.5},
    "flag=true": {"flag": True},
    "q": {"of": "q"},
    "q/placebo": {"of": "q", "variant": "placebo"},
    "q/placebo=random": {"of": "q", "placebo": "random"},
    "mutation=shuffled/confined": {"mutation": "shuffled", "variant": "confined"},
    "a=1/b=2.50": {"a": 1, "b": "2.50"},
    "b=1/a=2": {"of": "b=1/a=2"},
    "a+b=3/c": {"of": "a+b=3", "variant": "c"},
}


@pytest.fixture(scope="module")
def old(server_urls: dict[str, str]) -> Iterator[str]:
    """The database as it was dumped."""
    admin, name = make_url(server_urls["postgres"]), f"old_{uuid4().hex[:8]}"
    with plain(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = admin.set(database=name).render_as_string(hide_password=False)
        schema.migrate(url, "0017")
        with plain(url) as filled, filled.transaction():
            filled.execute("SET LOCAL session_replication_role = replica")  # rows in any order
            filled.execute(gzip.decompress(DUMP.read_bytes()))
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    schema.apply(engine, config, command.downgrade, revision)
    engine.dispose()


def held(url: str) -> dict[str, list[Any]]:
    """Everything that a migration of scores could harm."""
    queries = {"scores": SCORES, "parts": PARTS, "prompts": PROMPTS, "shown": SHOWN}
    queries |= {table: REST.format(table=table) for table in UNTOUCHED}
    queries["runs"] = "SELECT id, fingerprint, state, provenance FROM headbook.run ORDER BY 1"
    with plain(url) as connection:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


def notes(url: str) -> list[Any]:
    with plain(url) as connection:
        return connection.execute("SELECT id, notes FROM headbook.run ORDER BY 1").fetchall()


def test_every_number_is_as_it_was_up_and_down(old: str) -> None:
    before, noted = held(old), notes(old)
    assert len(before["scores"]) == 2420
    assert len(before["parts"]) == 30
    schema.upgrade(old)
    assert held(old) == before
    downgrade(old, "0017")
    assert (held(old), notes(old)) == (before, noted)


def test_texts_of_every_analysis_and_of_older_versions_become_values(old: str) -> None:
    schema.upgrade(old)
    with plain(old) as connection:
        rows = connection.execute(
            "SELECT condition, varied FROM headbook.score"
            " UNION SELECT condition, varied FROM headbook.part_score"
        ).fetchall()
    found = dict(rows)
    assert len(found) == len(rows) == 62
    assert {text: found[text] for text in MEANT} == MEANT
    assert all(type(found[f"position={n}"]["position"]) is int for n in range(4))


def test_a_text_that_says_something_else_is_refused(old: str) -> None:
    schema.upgrade(old)
    with plain(old) as connection, pytest.raises(psycopg.errors.CheckViolation, match="varied"):
        connection.execute("UPDATE headbook.score SET varied = '{}' WHERE condition = 'logit_diff'")
    with plain(old) as connection, pytest.raises(psycopg.errors.CheckViolation, match="varied"):
        connection.execute("UPDATE headbook.score SET varied = '{\"a\": 1}' WHERE condition = ''")


def test_what_was_noted_of_a_run_is_read_as_values(old: str) -> None:
    schema.upgrade(old)
    sessions = connect(old)
    with transaction(sessions) as session:
        runs = {line.analysis: line for line in results.runs(session, states=[RunState.SUCCEEDED])}
        patching = results.run_detail(session, runs["patching"].id).notes
        plugin = results.run_detail(session, runs["of_a_plugin"].id).notes
        scores = results.scores(session, runs["of_a_plugin"].id)
    close(sessions)
    assert patching.headline == Quantity("total_effect", varied={"of": "logit_diff"})
    assert "position" in patching.conventions
    assert plugin.headline == Quantity("logit_diff", varied={"of": "q", "variant": "placebo"})
    assert plugin.warnings == ("w",)
    assert {dict(each).get("variant") for each in plugin.scores[0].varied} == {
        None,
        "placebo",
        "confined",
    }
    described = {each.quantity.condition for each in scores if each.better == "high"}
    assert described == {"q/placebo", "qk/placebo", "mutation=shuffled/confined", "keys=label_0"}
    assert {each.quantity.condition for each in scores if each.headline} == {"q/placebo"}


def test_a_request_finds_the_run_that_an_older_version_has_stored(
    old: str, model_folder: Path, tmp_path: Path
) -> None:
    schema.upgrade(old)
    with plain(old) as connection:
        connection.execute("UPDATE headbook.model SET ref = %s", [str(model_folder)])
        stored = connection.execute(
            "SELECT run.id, analysis, params, spec FROM headbook.run"
            " JOIN headbook.distribution ON distribution.id = distribution_id"
            " WHERE state = 'succeeded' AND analysis <> 'of_a_plugin'"
        ).fetchall()
    sessions = connect(old)
    asked = [
        RunRequest(
            analysis=analysis,
            model="tiny",
            recipe=DistributionSpec.model_validate(spec),
            parameters=params,
        )
        for _, analysis, params, spec in stored
    ]
    found = submission.submit_all(asked, created_by="ada", sessions=sessions, home=Home(tmp_path))
    close(sessions)
    assert len(found) == 13
    assert [(each.run.id, each.new) for each in found] == [(known, False) for known, *_ in stored]


def test_scores_of_a_worker_of_an_older_version_are_refused_as_by_another_schema(old: str) -> None:
    schema.upgrade(old)
    sessions = connect(old)
    columns = "run_id, part, component_id, metric, site, condition, x, values"
    copied = (
        f"INSERT INTO headbook.part_score ({columns}) SELECT {columns} FROM headbook.part_score"
    )

    def store() -> None:
        with transaction(sessions) as session:
            session.execute(text("SET LOCAL ROLE headbook_worker"))
            session.execute(text(copied))

    with pytest.raises(NotMigrated):
        store()
    close(sessions)
