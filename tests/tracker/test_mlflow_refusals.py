"""What MLflow has lost or refuses is mended, told or given up: nothing is tried for ever."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from sqlalchemy import update
from stored_runs import detail, mlflow_ids, reopen, stored_tensors, whole

from analyses.names import BadName
from tracker import reports
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.home.home import Home
from tracker.publishing import (
    mirror,
    mlflow_errors,
    mlflow_names,
    mlflow_runs,
    publication,
    spool_cleanup,
)
from tracker.publishing.artifacts import Condition
from tracker.publishing.mirror import TensorsLost
from tracker.publishing.mlflow_errors import (
    GoneFromMlflow,
    MlflowLoginRefused,
    MlflowUnavailable,
    RefusedByMlflow,
)
from tracker.queueing import models
from tracker.store import publications
from tracker.tables import PublicationRow
from tracker.working.context import WorkerContext
from tracker.working.execution import publish_if_ended, work

from . import needing
from .conftest import Submit
from .harm import collect, delete

DAY = 24 * 3600.0


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("nein", response=response)


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (MlflowException("nein", codes.INVALID_PARAMETER_VALUE), RefusedByMlflow),
        (MlflowException("nein", codes.BAD_REQUEST), RefusedByMlflow),
        (MlflowException("nein", codes.RESOURCE_DOES_NOT_EXIST), GoneFromMlflow),
        (MlflowException("nein", codes.ENDPOINT_NOT_FOUND), MlflowUnavailable),
        (MlflowException("nein", codes.PERMISSION_DENIED), MlflowLoginRefused),
        (MlflowException("nein", codes.UNAUTHENTICATED), MlflowLoginRefused),
        (MlflowException("nein", codes.REQUEST_LIMIT_EXCEEDED), MlflowUnavailable),
        (MlflowException("INVALID_PARAMETER_VALUE: nein"), MlflowUnavailable),  # no code
        (MlflowException("nein", codes.TEMPORARILY_UNAVAILABLE), MlflowUnavailable),
        (answered(413), RefusedByMlflow),
        (answered(401), MlflowLoginRefused),
        (answered(404), MlflowUnavailable),
        (answered(408), MlflowUnavailable),
        (answered(425), MlflowUnavailable),
        (answered(429), MlflowUnavailable),
        (answered(502), MlflowUnavailable),
        (requests.ConnectionError("nein"), MlflowUnavailable),
    ],
)
def test_the_code_says_whether_another_try_may_help(
    error: Exception, means: type[Exception]
) -> None:
    with pytest.raises((MlflowUnavailable, RefusedByMlflow)) as raised, mlflow_errors.translated():
        raise error
    assert type(raised.value) is means


def checked(bench: WorkerContext, run_id: UUID) -> list[Condition]:
    found = mirror.check(bench.sessions, bench.artifacts, run_id, app_url=None)
    return [condition for _, condition in found]


def test_what_was_collected_in_mlflow_is_put_there_again_from_the_spool(
    submit: Submit, bench: WorkerContext, sessions: Sessions, mlflow_home: Home
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    before = bench.artifacts.mlflow.get_run(ids.run_id).data
    collect(bench.artifacts.mlflow, ids, mlflow_home)
    assert checked(bench, run.id) == [Condition.REPAIRED]
    again = mlflow_ids(sessions, run.id)
    assert again.run_id != ids.run_id
    after = bench.artifacts.mlflow.get_run(again.run_id).data
    assert (after.params, after.metrics) == (before.params, before.metrics)
    assert detail(sessions, run.id).line.published
    assert whole(bench, sessions, run.id)
    assert checked(bench, run.id) == [Condition.INTACT]


def test_what_was_collected_before_it_was_published_is_made_again(
    submit: Submit, bench: WorkerContext, sessions: Sessions, mlflow_home: Home
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    reopen(sessions, run.id)
    collect(bench.artifacts.mlflow, ids, mlflow_home)
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published
    assert mlflow_ids(sessions, run.id) != ids
    assert whole(bench, sessions, run.id)


def test_a_copy_elsewhere_stays_when_mlflow_is_found_without_it(
    submit: Submit,
    bench: WorkerContext,
    other: WorkerContext,
    sessions: Sessions,
    mlflow_home: Home,
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    collect(bench.artifacts.mlflow, mlflow_ids(sessions, run.id), mlflow_home)
    with pytest.raises(TensorsLost, match=r"is missing\. The worker w1 may have a copy"):
        checked(other, run.id)
    then = time.time() - 2 * DAY
    os.utime(bench.artifacts.spool.folder / stored.sha256, (then, then))
    assert spool_cleanup.sweep(sessions, bench.artifacts.spool) == 0
    with transaction(sessions) as session:
        assert publications.due(session) == [run.id]
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published
    assert whole(bench, sessions, run.id)


def a_run(bench: WorkerContext, run_id: str) -> None:
    bench.artifacts.mlflow.delete_run(run_id)


def its_experiment(bench: WorkerContext, run_id: str) -> None:
    bench.artifacts.mlflow.delete_experiment(
        bench.artifacts.mlflow.get_run(run_id).info.experiment_id
    )


@pytest.mark.parametrize("deletes", [a_run, its_experiment])
def test_what_a_person_deleted_and_mlflow_still_has_is_restored(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    deletes: Callable[[WorkerContext, str], None],
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    reopen(sessions, run.id)
    deletes(bench, ids.run_id)
    publish_if_ended(bench, run.id)
    line = detail(sessions, run.id).line
    assert (line.published, mlflow_ids(sessions, run.id)) == (True, ids)
    assert bench.artifacts.mlflow.get_run(ids.run_id).info.lifecycle_stage == "active"


@pytest.mark.parametrize("gone", ["run", "artifact"])
def test_a_run_that_reads_what_is_gone_takes_the_copy_or_fails_with_the_reason(
    submit: Submit,
    bench: WorkerContext,
    other: WorkerContext,
    sessions: Sessions,
    mlflow_home: Home,
    gone: str,
) -> None:
    with needing.registered():
        needed = submit(analysis="sizes").run
        work(bench, hint=None)
        ids = mlflow_ids(sessions, needed.id)
        if gone == "run":
            collect(bench.artifacts.mlflow, ids, mlflow_home)
        else:
            for stored in stored_tensors(sessions, needed.id):
                delete(bench.artifacts.mlflow, ids, stored, bench.artifacts.spool.folder)
        made = submit(analysis="shares").run
        for _ in range(made.max_attempts + 1):
            other.avoid.clear()
            work(other, hint=None)
        line = detail(sessions, made.id).line
        assert line.state is RunState.FAILED
        assert f"of run {needed.id}, which is gone from MLflow" in (line.reason or "")
        made = submit(analysis="shares").run
        work(bench, hint=None)
        assert detail(sessions, made.id).line.state is RunState.SUCCEEDED
        publish_if_ended(bench, needed.id)
        assert whole(bench, sessions, needed.id)


class SmallStore(MlflowClient):
    """The client of a server whose proxy takes no large files."""

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        raise answered(413)


class SmallTables(MlflowClient):
    """The client of a server whose proxy takes few metrics at once."""

    def log_batch(self, *_args: object, **_kwargs: object) -> None:
        raise answered(413)


def test_a_publication_that_is_refused_is_told_and_not_tried_for_ever(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit(analysis="behaviour").run
    bench.artifacts.mlflow = SmallTables(bench.artifacts.mlflow.tracking_uri)
    work(bench, hint=None)
    said = detail(sessions, run.id)
    assert said.line.state is RunState.SUCCEEDED
    assert (said.not_published or "").startswith("MLflow rejected the request: nein")
    with transaction(sessions) as session:
        session.execute(update(PublicationRow).values(attempts=0))
        assert publications.due(session) == []
        assert run.id in publications.pending(session)
        assert reports.queue_state(session).unpublished == 1
    with pytest.raises(RefusedByMlflow):
        mirror.publish(sessions, bench.artifacts, run.id, app_url=None)


def test_a_run_whose_tensors_are_refused_fails_with_the_reason_and_takes_others_along(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    with needing.registered():
        made = submit(analysis="shares")
        bench.artifacts.mlflow = SmallStore(bench.artifacts.mlflow.tracking_uri)
        work(bench, hint=None)
    needed = detail(sessions, made.inputs["same"].id).line
    assert needed.state is RunState.FAILED
    assert (needed.reason or "").startswith("MLflow rejected the request")
    assert detail(sessions, made.run.id).line.state is RunState.CANCELLED


def test_names_longer_than_columns_are_shortened_and_stay_apart(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit(analysis="behaviour").run
    work(bench, hint=None)
    known = detail(sessions, run.id)
    shown: list[Any] = []
    for path in ("a" * 700 + "X" + "a" * 700, "a" * 700 + "Y" + "a" * 700):
        line = replace(
            known.line,
            distribution=f"file:/{path}.jsonl",
            recipe={**known.line.recipe, "data": f"file:/{path}.jsonl"},
            created_by="b" * 900,
            mlflow_run_id=None,
            id=UUID(int=len(shown)),
        )
        told = replace(known, line=line, studies={"s": "c" * 9000})
        ids = mlflow_runs.ensure_run(bench.artifacts.mlflow, told)
        publication.publish(bench.artifacts.mlflow, ids, told, [], pictures={}, app_url=None)
        shown.append(bench.artifacts.mlflow.get_run(ids.run_id))
    for key, most in (("mlflow.runName", 250), ("mlflow.user", 256), ("headbook.study", 5000)):
        assert len(shown[0].data.tags[key]) == most
    names = {each.data.tags["mlflow.runName"] for each in shown}
    datasets = {each.inputs.dataset_inputs[0].dataset.name for each in shown}
    assert len(names) == len(datasets) == 2


def test_a_shortened_name_is_the_same_each_time_and_as_long_as_may_be() -> None:
    assert mlflow_names.shortened("abc", 3) == "abc"
    long = "x" * 999
    assert mlflow_names.shortened(long, 250) == mlflow_names.shortened(long, 250)
    assert len(mlflow_names.shortened(long, 250)) == 250
    assert mlflow_names.shortened(long, 250) != mlflow_names.shortened(long + "x", 250)


def test_names_that_people_choose_are_refused_where_they_are_too_long(
    submit: Submit, sessions: Sessions, home: Home, tmp_path: Path
) -> None:
    long = "".join(map(str, range(2000)))
    with pytest.raises(BadName, match="The name of the study has 6890 characters"):
        submit(study=long)
    with pytest.raises(BadName, match="The name of the model"):
        models.add_model(
            str(tmp_path), name=long, dtype="float32", home=home, roots=(), sessions=sessions
        )
    assert submit(study=long[:200]).study is not None
