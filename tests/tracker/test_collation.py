"""Names come in one order from every database, whatever order of words it was made with."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from plain_connection import connect as plain
from sqlalchemy import make_url, text

from analyses.results import Kind
from tracker import results
from tracker.database import schema
from tracker.database.db import Sessions, transaction
from tracker.domain import Model
from tracker.store import tensors
from tracker.store.tensors import StoredTensor
from tracker.tables import ComponentRow, ScoreRow

from .conftest import MakeRun

NAMES = ["z/x", "a_b", "ab", "B", "a.c", "A", "a", "_"]
BY_CODE = ["A", "B", "_", "a", "a.c", "a_b", "ab", "z/x"]  # as ASCII has them


@pytest.fixture(scope="module")
def database_url(server_urls: dict[str, str]) -> Iterator[str]:
    """A database that sorts as English people do: a, A, a_b, ab, B."""
    admin, name = make_url(server_urls["postgres"]), f"english_{uuid4().hex[:8]}"
    locale = "LOCALE_PROVIDER libc LOCALE 'en_US.UTF-8' TEMPLATE template0"
    with plain(admin.render_as_string(hide_password=False)) as connection:
        try:
            connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' {locale}")
        except psycopg.errors.WrongObjectType:
            pytest.skip("this machine has no locale en_US.UTF-8")
        url = admin.set(database=name).render_as_string(hide_password=False)
        schema.upgrade(url)
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_this_database_sorts_otherwise(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        listed = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name ORDER BY name")
        assert session.scalars(listed, {"names": NAMES}).all() != BY_CODE


def test_tensors_are_listed_by_code(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    stored = [
        StoredTensor(
            name=name,
            axes=("prompt",),
            coordinates={},
            dtype="float32",
            shape=(8,),
            sha256="0" * 64,
            size_bytes=1,
            mlflow_path=f"tensors/{name}",
        )
        for name in NAMES
    ]
    with transaction(sessions) as session:
        tensors.insert_tensors(session, run.id, stored)
        assert [each.name for each in tensors.tensors(session, run.id)] == BY_CODE


@pytest.mark.parametrize("column", ["metric", "site", "condition"])
def test_scores_are_listed_by_code(
    sessions: Sessions, make_run: MakeRun, model: Model, column: str
) -> None:
    run = make_run()
    with transaction(sessions) as session:
        component = ComponentRow(model_id=model.id, kind=Kind.HEAD, layer=0, index=0)
        session.add(component)
        session.flush()
        for name in NAMES:
            key: dict[str, Any] = {"metric": "m", "site": "z", "condition": "", column: name}
            key["varied"] = {"of": key["condition"]} if key["condition"] else {}
            session.add(
                ScoreRow(run_id=run.id, component_id=component.id, x=0, n=1, skipped=0, **key)
            )
    with transaction(sessions) as session:
        lines = results.scores(session, run.id)
    assert [getattr(line.quantity, column) for line in lines] == BY_CODE
