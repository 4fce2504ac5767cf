"""What is not found in MLflow is not away: a copy is read, or a run fails with the way out.

A run needs the two tensors of another. The worker `bench` has a copy of each in its spool; the
worker `other` has none.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from mlflow import MlflowClient
from stored_runs import detail, due_now, finished_run, mlflow_ids, whole

from analyses.results import NamedTensor
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, RunState
from tracker.home.home import Home
from tracker.publishing import mirror, mlflow_runs
from tracker.publishing.artifacts import Condition
from tracker.publishing.mirror import TensorsLost
from tracker.publishing.mlflow_errors import GoneFromMlflow, MlflowUnavailable
from tracker.store import publications, tensors
from tracker.store.publications import MlflowIds
from tracker.working import run_inputs
from tracker.working.context import WorkerContext
from tracker.working.execution import work
from tracker.working.run_inputs import InputGone

from . import needing
from .conftest import MakeRun, Submit
from .harm import collect, flip, store_of, upload
from .test_mlflow_refusals import answered

pytestmark = pytest.mark.attack(34, "tensors lost or changed in the store")

TABLE, LENGTHS = "tensors/table.safetensors", "tensors/lengths.safetensors"


@dataclass
class Done:
    """A run that has succeeded, whose tensors are in MLflow, and one that needs it."""

    run_id: UUID
    needs_it: UUID
    ids: MlflowIds
    mlflow: MlflowClient
    home: Home
    scratch: Path

    @property
    def files(self) -> Path:
        """Where the server keeps them."""
        return self.home.artifacts / self.ids.experiment_id / self.ids.run_id / "artifacts"


@pytest.fixture
def done(
    bench: WorkerContext,
    sessions: Sessions,
    model: Model,
    distribution_id: int,
    make_run: MakeRun,
    mlflow_home: Home,
    tmp_path: Path,
) -> Done:
    with transaction(sessions) as session:
        run = finished_run(session, model, distribution_id, scores={})
    ids = mlflow_runs.ensured(sessions, bench.artifacts.mlflow, detail(sessions, run.id))
    stored = [
        bench.artifacts.put(ids, name, NamedTensor(np.full(5, value, np.float32), ("x",)))
        for name, value in {"table": 1, "lengths": 2}.items()
    ]
    with transaction(sessions) as session:
        tensors.insert_tensors(session, run.id, stored)
        hold = publications.take(session, run.id)
        assert hold is not None
        publications.published(session, run.id, hold)
    (tmp_path / "scratch").mkdir()
    needs_it = make_run(inputs={"same": run.id}).id
    return Done(run.id, needs_it, ids, bench.artifacts.mlflow, mlflow_home, tmp_path / "scratch")


# What somebody does to it, most of it through MLflow's own doors.


def delete_a_file(done: Done) -> None:
    store_of(done.mlflow, done.ids).delete_artifacts(TABLE)


def delete_the_folder(done: Done) -> None:
    store_of(done.mlflow, done.ids).delete_artifacts("tensors")


def delete_all_files(done: Done) -> None:
    store_of(done.mlflow, done.ids).delete_artifacts()


def begin_with_an_empty_store(done: Done) -> None:
    shutil.rmtree(done.home.artifacts / done.ids.experiment_id)


def delete_the_run_for_good(done: Done) -> None:
    collect(done.mlflow, done.ids, done.home)


def put_a_folder_in_its_place(done: Done) -> None:
    store_of(done.mlflow, done.ids).delete_artifacts(TABLE)
    upload(done.mlflow, done.ids, f"{TABLE}/within", b"x", done.scratch)


def put_a_file_in_place_of_its_folder(done: Done) -> None:
    store_of(done.mlflow, done.ids).delete_artifacts("tensors")
    upload(done.mlflow, done.ids, "tensors", b"x", done.scratch)


def put_a_link_in_its_place(done: Done) -> None:
    (done.files / TABLE).unlink()
    (done.files / TABLE).symlink_to(done.files / LENGTHS)


GONE = (
    delete_a_file,
    delete_the_folder,
    delete_all_files,
    begin_with_an_empty_store,
    delete_the_run_for_good,
    put_a_folder_in_its_place,
    put_a_file_in_place_of_its_folder,
    put_a_link_in_its_place,  # MLflow follows none
)


def change(where: Callable[[int], int]) -> Callable[[Done], None]:
    return lambda done: flip(done.mlflow, done.ids, TABLE, where, done.scratch)


def cut_off(done: Done) -> None:
    content = (done.files / TABLE).read_bytes()
    upload(done.mlflow, done.ids, TABLE, content[:-4], done.scratch)


def write_on(done: Done) -> None:
    content = (done.files / TABLE).read_bytes()
    upload(done.mlflow, done.ids, TABLE, content + b"\0", done.scratch)


def empty(done: Done) -> None:
    upload(done.mlflow, done.ids, TABLE, b"", done.scratch)


def another_tensor(done: Done) -> None:
    upload(done.mlflow, done.ids, TABLE, (done.files / LENGTHS).read_bytes(), done.scratch)


def swapped(done: Done) -> None:
    first, second = ((done.files / each).read_bytes() for each in (TABLE, LENGTHS))
    upload(done.mlflow, done.ids, TABLE, second, done.scratch)
    upload(done.mlflow, done.ids, LENGTHS, first, done.scratch)


CHANGED = {
    "first byte": change(lambda size: 0),
    "a byte of its header": change(lambda size: 30),
    "a byte in the middle": change(lambda size: size // 2),
    "last byte": change(lambda size: size - 1),
    "cut off": cut_off,
    "longer": write_on,
    "empty": empty,
    "another tensor's bytes": another_tensor,
    "two files swapped": swapped,
}


HARMS = {**{each.__name__.replace("_", " "): each for each in GONE}, **CHANGED}


def read(done: Done, bench: WorkerContext) -> dict[str, float]:
    """The first number of each tensor that a worker hands over to the run that needs it."""
    inputs = run_inputs.load(bench.sessions, bench.artifacts, done.needs_it, lambda _: None)
    found = inputs["same"].tensors
    return {name: float(each.values[0]) for name, each in found.items()}


def checked(done: Done, bench: WorkerContext) -> dict[str, Condition]:
    """What `headbook publish --check` finds on a worker's host."""
    found = mirror.check(bench.sessions, bench.artifacts, done.run_id, app_url=None)
    return dict(found)


@pytest.mark.parametrize("harm", HARMS)
def test_a_lost_tensor_is_told_read_from_a_copy_and_put_right(
    done: Done, bench: WorkerContext, other: WorkerContext, sessions: Sessions, harm: str
) -> None:
    HARMS[harm](done)
    how = "not what was written" if harm in CHANGED else "gone from MLflow"
    with pytest.raises(
        InputGone, match=f"of run {done.run_id}, which is {how}, and this worker has no copy"
    ):
        read(done, other)
    with pytest.raises(TensorsLost, match=f"is {'changed' if harm in CHANGED else 'missing'}"):
        checked(done, other)
    assert read(done, bench) == {"table": 1, "lengths": 2}
    assert not detail(sessions, done.run_id).line.published  # it is to be put right
    assert Condition.REPAIRED in checked(done, bench).values()
    assert whole(bench, sessions, done.run_id)
    assert read(done, other) == {"table": 1, "lengths": 2}


class Refusing(MlflowClient):
    """The client of a server that answers so when it is asked for files."""

    status = 500

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[Any]:
        raise answered(self.status)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_while_no_mlflow_says_that_it_is_gone_the_run_waits(
    done: Done, other: WorkerContext, status: int
) -> None:
    other.artifacts.mlflow = Refusing(other.artifacts.mlflow.tracking_uri)
    other.artifacts.mlflow.status = status
    with pytest.raises(MlflowUnavailable) as waits:
        read(done, other)
    assert not isinstance(waits.value, GoneFromMlflow)


def test_while_nobody_answers_the_run_waits(done: Done, other: WorkerContext) -> None:
    other.artifacts.mlflow = MlflowClient("http://127.0.0.1:1")
    with pytest.raises(MlflowUnavailable):
        read(done, other)


def test_a_run_whose_need_was_replaced_by_a_folder_fails_with_the_way_out(
    submit: Submit, bench: WorkerContext, other: WorkerContext, sessions: Sessions, tmp_path: Path
) -> None:
    with needing.registered():
        needed = submit(analysis="sizes").run
        work(bench, hint=None)
        ids = mlflow_ids(sessions, needed.id)
        store_of(bench.artifacts.mlflow, ids).delete_artifacts(TABLE)
        upload(bench.artifacts.mlflow, ids, f"{TABLE}/within", b"x", tmp_path)
        made = submit(analysis="shares").run
        for _ in range(made.max_attempts):
            other.avoid.clear()
            due_now(sessions, made.id)
            work(other, hint=None)
    line = detail(sessions, made.id).line
    assert line.state is RunState.FAILED
    assert f"of run {needed.id}, which is gone from MLflow" in (line.reason or "")
    assert "queue that run again with --force" in (line.reason or "")
