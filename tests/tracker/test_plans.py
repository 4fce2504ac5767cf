"""Queries that are asked often find their rows by an index, however many rows there are."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from plain_connection import connect as plain
from sqlalchemy import event, make_url, text
from sqlalchemy.orm import Session

from tracker import results
from tracker.database import db, schema
from tracker.database.db import Sessions
from tracker.store import parts, publications, runs

FILL = """
SET session_replication_role = replica;  -- no triggers, no foreign keys

INSERT INTO headbook.model
  (name, ref, revision, dtype, fingerprint, family, n_layers, n_heads, n_kv_heads, d_model, d_head,
   d_vocab)
SELECT 'model ' || n, n, n, 'float32', n, 'llama', 10, 15, 15, 960, 64, 100
FROM generate_series(1, 3) AS n;

INSERT INTO headbook.component (model_id, kind, layer, index)
SELECT model.id, 'head', n / 15, n % 15 FROM headbook.model, generate_series(0, 149) AS n;

INSERT INTO headbook.distribution (hash, name, spec, size)
SELECT n, 'facts ' || n, '{}', 8 FROM generate_series(1, 3) AS n;

-- Of 8000 runs the first 1000 have not ended.
INSERT INTO headbook.run
  (id, fingerprint, analysis, analysis_version, engine_version, params, model_id, distribution_id,
   seed, priority, state, n_prompts, n_parts, created_by, created_at, finished_at)
SELECT md5('run ' || n)::uuid, md5('asked ' || n), 'attribution', 1, 1, '{}', 1 + n % 3, 1 + n % 3,
  0, 3, CASE WHEN n <= 200 THEN 'running' WHEN n <= 1000 THEN 'queued' ELSE 'succeeded' END,
  8, 2, 'ada', now() - make_interval(mins => n), CASE WHEN n > 1000 THEN now() END
FROM generate_series(1, 8000) AS n;

INSERT INTO headbook.part
  (run_id, number, kind, start, stop, state, worker, lease_expires_at, finished_at)
SELECT run.id, number, 'prompts', 4 * number, 4 * number + 4, it.state,
  CASE it.state WHEN 'running' THEN 'ada' END, CASE it.state WHEN 'running' THEN now() END,
  run.finished_at
FROM headbook.run, generate_series(0, 1) AS number,
  LATERAL (SELECT CASE WHEN run.state = 'running' AND number = 1 THEN 'queued' ELSE run.state END)
    AS it (state);

INSERT INTO headbook.publication (run_id, state, due_at)
SELECT id, CASE WHEN state = 'succeeded' THEN 'published' ELSE 'pending' END,
  CASE WHEN id < '01000000-0000-0000-0000-000000000000' THEN now() END FROM headbook.run;

INSERT INTO headbook.run_event (run_id, event)
SELECT id, 'queued' FROM headbook.run, generate_series(1, 3);

INSERT INTO headbook.run_log (run_id, part, epoch, worker, level, line)
SELECT id, 0, 1, 'ada', 'info', 'a line of it' FROM headbook.run, generate_series(1, 4);

INSERT INTO headbook.study (id, name, created_by)
SELECT md5('study ' || n)::uuid, 'study ' || n, 'ada' FROM generate_series(1, 800) AS n;
INSERT INTO headbook.study_run (study_id, run_id)
SELECT md5('study ' || n % 800)::uuid, md5('run ' || n)::uuid FROM generate_series(1, 8000) AS n;

INSERT INTO headbook.run_input (run_id, name, needs_run_id)
SELECT md5('run ' || n)::uuid, 'scores', md5('run ' || n + 1000)::uuid
FROM generate_series(1, 7000) AS n;

INSERT INTO headbook.score
SELECT made.* FROM generate_series(1, 200) AS n, headbook.component,
  jsonb_populate_record(NULL::headbook.score, jsonb_build_object(
    'run_id', md5('run ' || n + 1000)::uuid, 'component_id', component.id, 'metric', 'share',
    'site', '', 'condition', '', 'varied', jsonb_build_object(), 'x', 0, 'n', 8, 'skipped', 0,
    'mean', 0)) AS made
WHERE component.model_id = 1;

RESET session_replication_role;
"""
LARGE = {"run", "part", "score", "run_event", "run_log", "publication", "run_input", "study_run"}


def uuid_of(session: Session, name: str) -> UUID:
    found: UUID = session.execute(text("SELECT md5(:name)::uuid"), {"name": name}).scalar_one()
    return found


class Listed(NamedTuple):
    """A query, and the indexes without which a large table would be read from end to end."""

    ask: Callable[[Session, UUID], object]  # of a run that has succeeded
    indexes: tuple[str, ...]


QUEUES = ("run_due", "run_queue", "run_queue_of_model")
LISTED = {
    "the newest runs": Listed(
        lambda session, _: results.runs(session, limit=100), ("run_created_at_idx",)
    ),
    "some runs": Listed(
        lambda session, run: results.runs(session, ids=[run], limit=1), ("run_pkey",)
    ),
    "the runs of a study": Listed(
        lambda session, _: results.runs(session, study=uuid_of(session, "study 7")),
        ("study_run_pkey", "study_run_run_id_idx"),
    ),
    "the page of a run": Listed(results.run_detail, ("run_pkey",)),
    "its events": Listed(results.run_detail, ("run_event_run_id_seq_idx",)),
    "its inputs": Listed(results.run_detail, ("run_input_pkey",)),
    "its dependants": Listed(results.run_detail, ("run_input_needs_run_id_idx",)),
    "its studies": Listed(results.run_detail, ("study_run_run_id_idx", "study_run_pkey")),
    "how far it is": Listed(results.run_detail, ("part_pkey", "part_running")),
    "whether MLflow shows it": Listed(results.run_detail, ("publication_pkey",)),
    "its log": Listed(
        lambda session, run: results.run_log(session, run, last=500), ("run_log_run_id_seq_idx",)
    ),
    "its scores": Listed(results.scores, ("score_pkey",)),
    "runs to wake workers for": Listed(lambda session, _: runs.take_due(session, limit=4), QUEUES),
    "runs to claim": Listed(
        lambda session, run: parts.waiting_runs(session, loaded=(1, 2), hint=run), QUEUES
    ),
    "a claim": Listed(
        lambda session, _: parts.claim(session, uuid_of(session, "run 300"), worker="ada", lease=9),
        ("part_pkey", "part_running"),
    ),
    "lost parts": Listed(lambda session, _: parts.runs_with_lost_parts(session), ("part_running",)),
    "publications that are due": Listed(
        lambda session, _: publications.due(session), ("publication_due",)
    ),
    "the run of a fingerprint": Listed(
        lambda session, _: runs.standing(session, ["a fingerprint"]),
        ("run_fingerprint_idx", "run_fingerprint_once"),
    ),
}


@pytest.fixture(scope="module")
def filled(server_urls: dict[str, str]) -> Iterator[Sessions]:
    """Sessions on a database of thousands of runs."""
    admin, name = make_url(server_urls["postgres"]), f"plans_{uuid4().hex[:8]}"
    with plain(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = admin.set(database=name).render_as_string(hide_password=False)
        schema.upgrade(url)
        with plain(url) as own:
            own.execute(FILL)
            own.execute("VACUUM ANALYZE")
        sessions = db.connect(url)
        yield sessions
        db.close(sessions)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def read_whole(sessions: Sessions, listed: Listed, *, dropped: tuple[str, ...] = ()) -> set[str]:
    """The large tables that a statement of the query reads from end to end."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    engine = sessions.kw["bind"]
    with sessions() as session:  # rolled back in the end
        for index in dropped:
            session.execute(text(drop(index)))
        run = uuid_of(session, "run 1100")
        event.listen(engine, "before_cursor_execute", note)
        try:
            listed.ask(session, run)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        plans = [
            session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            for statement, parameters in asked
        ]
        nodes = [node for plan in plans for node in below(plan.scalar_one()[0]["Plan"])]
    return {
        node["Relation Name"]
        for node in nodes
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
    }


def drop(index: str) -> str:
    if index.endswith("_pkey"):
        table = index.removesuffix("_pkey")
        return f"ALTER TABLE headbook.{table} DROP CONSTRAINT {index} CASCADE"
    return f"DROP INDEX headbook.{index}"


def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from below(each)


@pytest.mark.parametrize("name", LISTED)
def test_a_listed_query_reads_no_large_table_from_end_to_end(filled: Sessions, name: str) -> None:
    assert read_whole(filled, LISTED[name]) == set()


@pytest.mark.parametrize("name", LISTED)
def test_without_its_indexes_it_does(filled: Sessions, name: str) -> None:
    assert read_whole(filled, LISTED[name], dropped=LISTED[name].indexes)


def test_every_large_table_has_more_rows_than_a_query_needs(filled: Sessions) -> None:
    with db.transaction(filled) as session:
        for table in LARGE:
            found = session.scalar(text(f"SELECT count(*) FROM headbook.{table}"))
            assert found is not None
            assert found >= 7000
