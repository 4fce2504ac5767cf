"""Files of a run are read and written at the MLflow server's own place, wherever it is told to go.

What somebody has planted is written into the server's database, so that these tests do not depend
on what the server itself refuses.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from mlflow import MlflowClient
from stored_runs import detail, mlflow_ids

from analyses import registry
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, NamedTensor, ScoreKey
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.home.home import Home
from tracker.publishing import mlflow_places, mlflow_runs
from tracker.publishing.mlflow_places import ForeignPlace
from tracker.store import publications
from tracker.store.publications import MlflowIds
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import MakeRun, Submit

pytestmark = pytest.mark.attack(34, "experiments and runs planted in MLflow")

Plant = Callable[[str], str]


@pytest.fixture
def change(mlflow_home: Home) -> Callable[..., None]:
    """Writes into the server's database."""

    def run(statement: str, *values: str) -> None:
        with closing(sqlite3.connect(mlflow_home.root / "mlflow.db", timeout=30)) as db, db:
            db.execute(statement, values)

    return run


@pytest.fixture
def plant(bench: WorkerContext, change: Callable[..., None]) -> Plant:
    """Makes an experiment whose files are at a place; its name. `{id}` there is its id."""

    def made(location: str) -> str:
        name = f"planted_{uuid4().hex}"
        number = bench.artifacts.mlflow.create_experiment(name)
        at = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
        change(at, location.format(id=number), number)
        return name

    return made


LOCATIONS = (
    "file:///{folder}",
    "file:///{folder}/{id}",
    "file://localhost/{folder}/{id}",
    "/{folder}/{id}",
    "{folder}/{id}",
    "mlflow-artifacts:/",
    "mlflow-artifacts:/0/" + "a" * 32 + "/artifacts/{id}",  # the files of another run
    "mlflow-artifacts:/../{id}",
    "mlflow-artifacts://evil.example:5000/{id}",  # it would be told our login
    "http://127.0.0.1:1/{id}",
    "https://evil.example/{id}",
    "s3://of-somebody-else/{id}",
    "gs://of-somebody-else/{id}",
    "ftp://evil.example/{id}",
    "sftp://evil.example/{id}",
    "dbfs:/evil/{id}",
    "runs:/evil/{id}",
)


@pytest.mark.parametrize("location", LOCATIONS)
def test_no_run_is_made_in_an_experiment_at_a_place_of_somebody_elses(
    bench: WorkerContext,
    sessions: Sessions,
    make_run: MakeRun,
    plant: Plant,
    tmp_path: Path,
    location: str,
) -> None:
    folder = tmp_path / "theirs"
    name = plant(location.replace("{folder}", str(folder).lstrip("/")))
    run = make_run(analysis=name)
    with pytest.raises(ForeignPlace, match=f"The experiment '{name}' keeps files at .*Rename the"):
        mlflow_runs.ensured(sessions, bench.artifacts.mlflow, detail(sessions, run.id))
    experiment = bench.artifacts.mlflow.get_experiment_by_name(name)
    assert experiment is not None
    assert bench.artifacts.mlflow.search_runs([experiment.experiment_id]) == []
    assert not folder.exists()


@pytest.mark.parametrize("location", LOCATIONS)
def test_no_file_is_read_or_written_in_a_run_at_a_place_of_somebody_elses(
    bench: WorkerContext, change: Callable[..., None], tmp_path: Path, location: str
) -> None:
    experiment = bench.artifacts.mlflow.create_experiment(uuid4().hex)
    ids = MlflowIds(
        experiment_id=experiment, run_id=bench.artifacts.mlflow.create_run(experiment).info.run_id
    )
    mlflow_places.check_run(bench.artifacts.mlflow, ids)
    folder = tmp_path / "theirs"
    at = location.replace("{folder}", str(folder).lstrip("/")).format(id=experiment)
    run_at = f"{at}/{ids.run_id}/artifacts"
    change("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", run_at, ids.run_id)
    tensor = NamedTensor(np.ones(3, np.float32), ("x",))
    with pytest.raises(ForeignPlace):
        bench.artifacts.put(ids, "table", tensor)
    assert not folder.exists()


class Elsewhere(MlflowClient):
    """The client of a server that serves no files itself, and keeps them in a bucket."""

    def get_experiment(self, experiment_id: str) -> Any:
        found = super().get_experiment(experiment_id)
        if experiment_id == "0":
            found._artifact_location = "s3://ours/mlflow/0"
        return found


def test_what_the_administrator_has_configured_is_the_servers_own(
    bench: WorkerContext, plant: Plant
) -> None:
    client = Elsewhere(bench.artifacts.mlflow.tracking_uri)
    ours, theirs = (
        client.get_experiment_by_name(plant(f"s3://{bucket}/mlflow/{{id}}"))
        for bucket in ("ours", "ours-too")
    )
    assert ours is not None
    assert theirs is not None
    mlflow_places.check_experiment(client, ours)
    with pytest.raises(ForeignPlace):
        mlflow_places.check_experiment(client, theirs)


def test_an_analysis_whose_experiment_was_planted_fails_and_is_done_once_it_is_renamed(
    submit: Submit, bench: WorkerContext, sessions: Sessions, plant: Plant, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    name = plant(f"file://{folder}/{{id}}")
    with registered(name):
        run = submit(analysis=name).run
        work(bench, hint=None)
        line = detail(sessions, run.id).line
        assert line.state is RunState.FAILED
        assert f"MLflow rejected the request: The experiment '{name}' keeps files at" in (
            line.reason or ""
        )
        assert not folder.exists()
        planted = bench.artifacts.mlflow.get_experiment_by_name(name)
        assert planted is not None
        bench.artifacts.mlflow.rename_experiment(planted.experiment_id, f"{name}_theirs")
        again = submit(analysis=name).run
        work(bench, hint=None)
        line = detail(sessions, again.id).line
        assert (line.state, line.published) == (RunState.SUCCEEDED, True)


def test_a_strangers_run_with_our_tag_is_not_taken_over(
    bench: WorkerContext, sessions: Sessions, make_run: MakeRun
) -> None:
    name = f"tagged_{uuid4().hex}"
    run = make_run(analysis=name)
    experiment = bench.artifacts.mlflow.create_experiment(name)
    tags = {"headbook.run": str(run.id)}
    planted = bench.artifacts.mlflow.create_run(experiment, tags=tags).info.run_id
    bench.artifacts.mlflow.log_param(planted, "model", "another")
    ids = mlflow_runs.ensured(sessions, bench.artifacts.mlflow, detail(sessions, run.id))
    assert ids.run_id != planted
    assert mlflow_ids(sessions, run.id) == ids
    assert mlflow_runs.ensured(sessions, bench.artifacts.mlflow, detail(sessions, run.id)) == ids
    mlflow_runs.remove_doubles(bench.artifacts.mlflow, ids, run.id)
    assert bench.artifacts.mlflow.get_run(planted).info.lifecycle_stage == "deleted"


def test_two_workers_that_make_a_run_at_once_go_on_with_the_same(
    bench: WorkerContext, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(analysis=f"raced_{uuid4().hex}")
    before = detail(sessions, run.id)
    first = mlflow_runs.ensured(sessions, bench.artifacts.mlflow, before)
    assert mlflow_runs.ensured(sessions, bench.artifacts.mlflow, before) == first
    assert mlflow_ids(sessions, run.id) == first


def test_a_run_recorded_at_a_place_of_somebody_elses_is_made_again(
    bench: WorkerContext, sessions: Sessions, make_run: MakeRun, change: Callable[..., None]
) -> None:
    run = make_run(analysis=f"moved_{uuid4().hex}")
    first = mlflow_runs.ensured(sessions, bench.artifacts.mlflow, detail(sessions, run.id))
    at = "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?"
    change(at, "file:///theirs", first.run_id)
    second = mlflow_runs.ensured(sessions, bench.artifacts.mlflow, detail(sessions, run.id))
    assert second.run_id != first.run_id
    with transaction(sessions) as session:
        assert publications.mlflow_ids(session, run.id) == second


def one(lm: object, prompts: list[object], params: object, progress: object) -> Measured:
    """Ones."""
    ones = np.ones(len(prompts), np.float32)
    return Measured(
        scores={ScoreKey(MODEL, Quantity("one")): ones},
        tensors={"ones": NamedTensor(ones[:, None], ("prompt", "one"))},
    )


@contextmanager
def registered(name: str) -> Iterator[None]:
    """Inside the block an analysis of that name is there, with one score and one tensor."""
    analysis(name, version=1, params=Params)(one)
    try:
        yield
    finally:
        del registry._ANALYSES[name]
