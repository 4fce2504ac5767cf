"""Tensors of runs under way go through an upgrade and a downgrade of their table."""

from collections.abc import Iterator
from importlib import import_module
from uuid import UUID, uuid4

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from numpy.typing import NDArray
from plain_connection import connect as plain
from sqlalchemy import make_url

from tracker.database import db, postgres_session, schema
from tracker.database.db import transaction
from tracker.store import runs
from tracker.working.part_tensors import JoinedTensors

REVISION = import_module("migrations.versions.0021_tensor_chunks")
MODEL = """
INSERT INTO headbook.model (name, ref, revision, dtype, fingerprint, family, n_layers, n_heads,
  n_kv_heads, d_model, d_head, d_vocab)
VALUES ('tiny', '/tiny', '0', 'float32', '0', 'llama', 1, 1, 1, 1, 1, 1) RETURNING id
"""
DISTRIBUTION = """
INSERT INTO headbook.distribution (hash, name, spec, size) VALUES ('0', 'facts', '{}', 4)
RETURNING id
"""
RUN = """
INSERT INTO headbook.run (id, fingerprint, analysis, analysis_version, engine_version, params,
  model_id, distribution_id, seed, priority, state, n_prompts, n_parts, created_by)
VALUES (%s, %s, 'bases', 1, 1, '{}', %s, %s, 0, 3, 'finishing', 4, 2, 'ada')
"""
PART = """
INSERT INTO headbook.part (run_id, number, kind, start, stop, done, state, epoch, finished_at)
VALUES (%s, %s, 'prompts', %s, %s, 2, 'succeeded', 3, now())
"""
TENSOR = "INSERT INTO headbook.part_tensor VALUES (%s, %s, %s, %s, '{}', 'float32', %s, %s)"
END = "UPDATE headbook.run SET state = 'cancelled', finished_at = now() WHERE id = %s"
STORED = """
SELECT part, name, axes, dtype, shape, data FROM headbook.part_tensor
WHERE run_id = %s ORDER BY part, name
"""

Tensors = dict[str, NDArray[np.float32]]


@pytest.fixture
def old_database(server_urls: dict[str, str]) -> Iterator[str]:
    """A database as it was when a part's tensor was one value."""
    admin, name = make_url(server_urls["postgres"]), f"old_{uuid4().hex[:8]}"
    url = admin.set(database=name).render_as_string(hide_password=False)
    with plain(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        schema.migrate(url, REVISION.down_revision)
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def fill(url: str, tensors: Tensors) -> UUID:
    """A run that goes on, and beside it one that ends: two parts of those tensors in each."""
    going, ended = uuid4(), uuid4()
    with plain(url) as connection:
        (model,) = connection.execute(MODEL).fetchone()
        (distribution,) = connection.execute(DISTRIBUTION).fetchone()
        for run in (going, ended):
            connection.execute(RUN, [run, run.hex, model, distribution])
            for part in range(2):
                mine = slice(2 * part, 2 * part + 2)
                connection.execute(PART, [run, part, mine.start, mine.stop])
                for name, values in tensors.items():
                    slice_of = values[mine]
                    shape, data = list(slice_of.shape), slice_of.tobytes()
                    axes = ["prompt", "a", "b"][: values.ndim]
                    connection.execute(TENSOR, [run, part, name, axes, shape, data])
        connection.execute(END, [ended])
    return going


def downgrade(url: str) -> None:
    config, engine = Config(), postgres_session.engine(url)
    config.set_main_option("script_location", "migrations:")
    schema.apply(engine, config, command.downgrade, REVISION.down_revision)
    engine.dispose()


def test_tensors_of_runs_under_way_are_cut_into_chunks_and_joined_again(old_database: str) -> None:
    random = np.random.default_rng(0)
    tensors: Tensors = {
        "large": random.normal(size=(4, 1_500_000)).astype(np.float32),
        "exact": random.normal(size=(4, 1024, 512)).astype(np.float32),  # a part's is one chunk
        "none": np.zeros((4, 0), np.float32),
    }
    run_id = fill(old_database, tensors)
    with plain(old_database) as connection:
        before = connection.execute(STORED, [run_id]).fetchall()
    schema.migrate(old_database, REVISION.revision)
    sessions = db.connect(old_database)
    with transaction(sessions) as session:
        run = runs.run(session, run_id)
    joined = JoinedTensors(sessions, run, lambda done: None)
    assert set(joined) == set(tensors)
    for name, values in tensors.items():
        np.testing.assert_array_equal(joined[name].values, values)
    db.close(sessions)
    with plain(old_database) as connection:
        of_run = "SELECT run_id, name, count(*) FROM headbook.part_tensor_chunk GROUP BY 1, 2"
        cut = {(run, name): n for run, name, n in connection.execute(of_run)}
    assert cut == {(run_id, "large"): 6, (run_id, "exact"): 2}
    downgrade(old_database)
    with plain(old_database) as connection:
        assert connection.execute(STORED, [run_id]).fetchall() == before
