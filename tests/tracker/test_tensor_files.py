"""A run's tensors in MLflow are what Postgres says, whatever happened to their files."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from sqlalchemy import text, update
from stored_runs import detail, mlflow_ids, reopen, stored_tensors, whole

from analyses.results import NamedTensor
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.publishing import mirror
from tracker.publishing.artifacts import TensorChanged
from tracker.publishing.mirror import TensorsLost
from tracker.publishing.tensor_format import encoded
from tracker.store import endings, publications
from tracker.tables import PartRow
from tracker.working.context import WorkerContext
from tracker.working.execution import publish_if_ended, work

from .conftest import Submit
from .harm import HARMS, FreezingClient, Harm, flip_a_bit, overwrite


def test_the_same_tensor_is_the_same_bytes(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T  # not contiguous
    tensor = NamedTensor(values, ("prompt", "label"), {"label": ("A", "B")})
    files = {encoded("logits", tensor) for _ in range(20)}
    assert len(files) == 1
    path = tmp_path / "logits.safetensors"
    path.write_bytes(files.pop())
    with safe_open(path, framework="np") as stored:
        np.testing.assert_array_equal(stored.get_tensor("logits"), values)
        assert json.loads(stored.metadata()["headbook"])["axes"] == ["prompt", "label"]


def test_a_tensor_is_in_the_spool_of_the_worker_that_stored_it(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    copy = bench.artifacts.spool.path(stored.sha256)
    assert copy == bench.home.root / "spool" / stored.sha256
    assert copy.stat().st_size == stored.size_bytes


@HARMS
def test_a_tensor_that_was_overwritten_or_deleted_is_uploaded_again_before_a_run_is_published(
    submit: Submit, bench: WorkerContext, sessions: Sessions, harm: Harm, tmp_path: Path
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    harm(bench.artifacts.mlflow, mlflow_ids(sessions, run.id), stored, tmp_path)
    reopen(sessions, run.id)
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published
    assert whole(bench, sessions, run.id)


@HARMS
def test_without_a_copy_the_run_waits_for_the_worker_that_has_one(
    submit: Submit,
    bench: WorkerContext,
    other: WorkerContext,
    sessions: Sessions,
    harm: Harm,
    tmp_path: Path,
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    ids = mlflow_ids(sessions, run.id)
    harm(bench.artifacts.mlflow, ids, stored, tmp_path)
    reopen(sessions, run.id)
    with pytest.raises(TensorsLost) as lost:
        mirror.publish(sessions, other.artifacts, run.id, app_url=None)
    said = detail(sessions, run.id)
    assert said.not_published == str(lost.value)
    assert not said.line.published
    how = "changed" if harm is overwrite else "missing"
    assert f"{stored.mlflow_path} is {how}. The worker w1 may have a copy" in said.not_published
    assert f"spool/{stored.sha256[:12]}" in said.not_published
    shown = bench.artifacts.mlflow.get_run(ids.run_id)  # all but the tensor
    assert shown.info.status == "FINISHED"
    path = stored.mlflow_path.replace("_", r"\_")  # Markdown shows it as it is
    remark = f"Do not use {path}: it is {how}."
    assert remark in shown.data.tags["mlflow.note.content"]
    with transaction(sessions) as session:
        assert publications.due(session) == [run.id]
    publish_if_ended(bench, run.id)
    said = detail(sessions, run.id)
    assert (said.line.published, said.not_published) == (True, None)
    assert whole(bench, sessions, run.id)
    shown = bench.artifacts.mlflow.get_run(ids.run_id)
    assert remark not in shown.data.tags["mlflow.note.content"]


def test_a_worker_that_wakes_up_and_overwrites_what_another_has_stored_changes_nothing(
    submit: Submit, bench: WorkerContext, other: WorkerContext, sessions: Sessions, wide: None
) -> None:
    run = submit(analysis="wide").run
    seen: list[object] = []

    def another_finishes() -> None:
        with transaction(sessions) as session:
            past = text("clock_timestamp() - interval '1 second'")
            running = PartRow.state == "running"
            session.execute(update(PartRow).where(running).values(lease_expires_at=past))
            assert endings.reap(session, run.id) == 1
        assert work(other, hint=None) == 1
        assert detail(sessions, run.id).line.published
        seen.append(stored_tensors(sessions, run.id))
        seen.append(whole(bench, sessions, run.id))

    uri = bench.artifacts.mlflow.tracking_uri
    bench.artifacts.mlflow = FreezingClient(uri, "bits.safetensors", another_finishes)
    work(bench, hint=None)
    decided, was_whole = seen
    assert was_whole
    assert not whole(bench, sessions, run.id)  # what the late one has done
    assert stored_tensors(sessions, run.id) == decided
    said = detail(sessions, run.id)
    assert said.line.state is RunState.SUCCEEDED
    assert not said.line.published
    assert said.not_published is not None
    assert "tensors/bits.safetensors is changed. The worker w2" in said.not_published
    publish_if_ended(other, run.id)
    assert detail(sessions, run.id).line.published
    assert whole(bench, sessions, run.id)


def test_a_stored_tensor_is_read_back_and_a_changed_one_is_refused(
    submit: Submit, bench: WorkerContext, sessions: Sessions, tmp_path: Path
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    (stored,) = stored_tensors(sessions, run.id)
    tensor = bench.artifacts.get(ids, stored)
    assert tensor.axes == ("prompt", "component", "label")
    assert tensor.values.shape == (8, len(tensor.coordinates["component"]), 4)
    flip_a_bit(bench.artifacts.mlflow, ids, stored, tmp_path)
    with pytest.raises(TensorChanged, match="is not what was written"):
        bench.artifacts.get(ids, stored)
