"""What is wrong in MLflow is found: other bytes, two runs in place of one, another end."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from sqlalchemy import text

from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.publishing.publication import mlflow_client
from tracker.store import publications
from tracker.store.publications import MlflowIds

from . import moves
from .audit import audited
from .checker import MIRRORED, MIRRORED_ONCE, STORED, broken


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """A succeeded run with one tensor, as MLflow has it."""

    run: Run
    ids: MlflowIds
    sessions: Sessions
    mlflow: MlflowClient
    file: Path

    def found(self) -> set[str]:
        return {each.invariant for each in broken(self.sessions, mlflow=self.mlflow)}


@pytest.fixture
def mirrored(sessions: Sessions, mlflow_uri: str, tmp_path: Path) -> Iterator[Mirrored]:
    mlflow = mlflow_client(mlflow_uri)
    with audited(sessions):
        run = moves.queue(sessions, of=moves.facts(sessions))
        moves.succeed(sessions, run)
        experiment = mlflow.create_experiment(f"mirrors {uuid4().hex}")
        made = mlflow.create_run(experiment, tags={"headbook.run": str(run.id)}).info.run_id
        ids = MlflowIds(experiment_id=experiment, run_id=made)
        file = tmp_path / "lengths.safetensors"
        file.write_bytes(b"the tensor")
        mlflow.log_artifact(made, str(file), "tensors")
        mlflow.set_terminated(made)
        with transaction(sessions) as session:
            publications.set_mlflow_ids(session, run.id, ids, instead_of=str(run.id))
            digest = hashlib.sha256(b"the tensor").hexdigest()
            session.execute(text("UPDATE headbook.tensor SET sha256 = :it"), {"it": digest})
        yield Mirrored(run=run, ids=ids, sessions=sessions, mlflow=mlflow, file=file)


def test_nothing_is_found_where_mlflow_has_it_all(mirrored: Mirrored) -> None:
    assert mirrored.found() == set()


def test_other_bytes_are_found(mirrored: Mirrored) -> None:
    mirrored.file.write_bytes(b"the tensoR")
    mirrored.mlflow.log_artifact(mirrored.ids.run_id, str(mirrored.file), "tensors")
    assert mirrored.found() == {STORED}


def test_a_missing_file_is_found(mirrored: Mirrored) -> None:
    with transaction(mirrored.sessions) as session:
        session.execute(text("UPDATE headbook.tensor SET mlflow_path = 'tensors/lost'"))
    assert mirrored.found() == {STORED}


def test_a_second_run_is_found(mirrored: Mirrored) -> None:
    tags = {"headbook.run": str(mirrored.run.id)}
    mirrored.mlflow.create_run(mirrored.ids.experiment_id, tags=tags)
    assert mirrored.found() == {MIRRORED_ONCE}


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_another_end_is_found(mirrored: Mirrored, status: str) -> None:
    mirrored.mlflow.update_run(mirrored.ids.run_id, status=status)
    assert mirrored.found() == {MIRRORED}


def test_a_published_run_that_is_not_there_is_found(mirrored: Mirrored) -> None:
    with transaction(mirrored.sessions) as session:
        session.execute(text("UPDATE headbook.publication SET mlflow_run_id = NULL"))
    assert mirrored.found() == {STORED, MIRRORED}
