"""What MLflow holds of a run is what Postgres says, whatever happened to its files."""

import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from safetensors import safe_open
from sqlalchemy import text, update
from typer.testing import CliRunner, Result

from analyses import registry
from analyses.registry import Params, analysis
from analyses.results import MODEL, Derived, Measured, NamedTensor, ScoreKey
from tracker import mirror, reports
from tracker.cli import app
from tracker.db import Sessions, transaction
from tracker.domain import RunState
from tracker.execution import publish_if_ended, work
from tracker.home import Home
from tracker.loaded_models import LoadedModels
from tracker.mirror import TensorsLost
from tracker.publication import ensure_run
from tracker.reports import RunDetail
from tracker.store import endings, publications, runs, tensors
from tracker.store.publications import MlflowIds
from tracker.store.runs import UnknownRun
from tracker.store.tensors import StoredTensor
from tracker.tables import PartRow, RunRow
from tracker.tensor_files import encoded
from tracker.workbench import Workbench

from .conftest import Submit


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


MANY = 100_000  # numbers per prompt of the tensor `wide`
NEXT = count()


class WideParams(Params):
    """None of its own."""


def other_bits(measured: Measured, params: Any) -> Derived:
    """As a sum may have on another host: each time another value."""
    return Derived(tensors={"bits": NamedTensor(np.array([next(NEXT)], np.float32), ("one",))})


@pytest.fixture
def wide() -> Iterator[None]:
    """An analysis `wide`: a large tensor, and a small one that no two workers have alike."""

    @analysis("wide", version=1, params=WideParams, derive=other_bits)
    def wide(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """A score, and 400 kB of zeros for each prompt."""
        zeros = NamedTensor(np.zeros((len(prompts), MANY), np.float32), ("prompt", "place"))
        one = ScoreKey(component=MODEL, metric="one")
        return Measured(scores={one: np.ones(len(prompts), np.float32)}, tensors={"zeros": zeros})

    globals()["wide"] = wide
    yield
    del registry._ANALYSES["wide"]


@pytest.fixture
def other(bench: Workbench, tmp_path: Path) -> Workbench:
    """A worker of another host."""
    return replace(
        bench, name="w2", home=Home(tmp_path / "other home"), avoid={}, loaded=LoadedModels()
    )


def detail(sessions: Sessions, run_id: UUID) -> RunDetail:
    with transaction(sessions) as session:
        return reports.run_detail(session, run_id)


def ids_of(sessions: Sessions, run_id: UUID) -> MlflowIds:
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, run_id)
    assert ids is not None
    return ids


def stored_tensors(sessions: Sessions, run_id: UUID) -> list[StoredTensor]:
    with transaction(sessions) as session:
        return tensors.tensors(session, run_id)


def reopen(sessions: Sessions, run_id: UUID) -> None:
    with transaction(sessions) as session:
        publications.reopen(session, run_id)


def overwrite(mlflow: MlflowClient, ids: MlflowIds, stored: StoredTensor, folder: Path) -> None:
    file = folder / Path(stored.mlflow_path).name
    file.write_bytes(b"other bits")
    mlflow.log_artifact(ids.run_id, str(file), "tensors")


def delete(mlflow: MlflowClient, ids: MlflowIds, stored: StoredTensor, _folder: Path) -> None:
    uri = mlflow.get_run(ids.run_id).info.artifact_uri
    get_artifact_repository(uri, mlflow.tracking_uri).delete_artifacts(stored.mlflow_path)


Harm = Callable[[MlflowClient, MlflowIds, StoredTensor, Path], None]
HARMS = pytest.mark.parametrize("harm", [overwrite, delete])


def content(bench: Workbench, ids: MlflowIds, path: str) -> bytes:
    return Path(bench.mlflow.download_artifacts(ids.run_id, path)).read_bytes()


def whole(bench: Workbench, sessions: Sessions, run_id: UUID) -> bool:
    """Whether every file of the run has the hash of its row."""
    ids = ids_of(sessions, run_id)
    return all(
        hashlib.sha256(content(bench, ids, each.mlflow_path)).hexdigest() == each.sha256
        for each in stored_tensors(sessions, run_id)
    )


def test_a_tensor_is_in_the_spool_of_the_worker_that_stored_it(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    copy = bench.spool.path(stored.sha256)
    assert copy == bench.home.root / "spool" / stored.sha256
    assert copy.stat().st_size == stored.size_bytes


@HARMS
def test_a_tensor_that_was_overwritten_or_deleted_is_uploaded_again_before_a_run_is_published(
    submit: Submit, bench: Workbench, sessions: Sessions, harm: Harm, tmp_path: Path
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    harm(bench.mlflow, ids_of(sessions, run.id), stored, tmp_path)
    reopen(sessions, run.id)
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published
    assert whole(bench, sessions, run.id)


@HARMS
def test_without_a_copy_the_run_waits_for_the_worker_that_has_one(
    submit: Submit,
    bench: Workbench,
    other: Workbench,
    sessions: Sessions,
    harm: Harm,
    tmp_path: Path,
) -> None:
    run = submit().run
    work(bench, hint=None)
    (stored,) = stored_tensors(sessions, run.id)
    ids = ids_of(sessions, run.id)
    harm(bench.mlflow, ids, stored, tmp_path)
    reopen(sessions, run.id)
    with pytest.raises(TensorsLost) as lost:
        mirror.publish(sessions, other.mlflow, other.spool, run.id, app_url=None)
    said = detail(sessions, run.id)
    assert said.not_published == str(lost.value)
    assert not said.line.published
    how = "changed" if harm is overwrite else "missing"
    assert f"{stored.mlflow_path} is {how}. The worker w1 may have a copy" in said.not_published
    assert f"spool/{stored.sha256[:12]}" in said.not_published
    shown = bench.mlflow.get_run(ids.run_id)  # all but the tensor
    assert shown.info.status == "FINISHED"
    remark = f"Do not use {stored.mlflow_path}: it is {how}."
    assert remark in shown.data.tags["mlflow.note.content"]
    with transaction(sessions) as session:
        assert publications.due(session) == [run.id]
    publish_if_ended(bench, run.id)
    said = detail(sessions, run.id)
    assert (said.line.published, said.not_published) == (True, None)
    assert whole(bench, sessions, run.id)
    shown = bench.mlflow.get_run(ids.run_id)
    assert remark not in shown.data.tags["mlflow.note.content"]


class FreezingClient(MlflowClient):
    """The client of a worker that is frozen as it begins to upload a file; meanwhile `then`."""

    def __init__(self, uri: str, file: str, then: Callable[[], None]) -> None:
        super().__init__(uri)
        self.file, self.then = file, then

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        if Path(local_path).name == self.file:
            self.then()
        super().log_artifact(run_id, local_path, artifact_path)


def test_a_worker_that_wakes_up_and_overwrites_what_another_has_stored_changes_nothing(
    submit: Submit, bench: Workbench, other: Workbench, sessions: Sessions, wide: None
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

    uri = bench.mlflow.tracking_uri
    bench.mlflow = FreezingClient(uri, "bits.safetensors", another_finishes)
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


def test_publishing_thrice_is_publishing_once(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = ids_of(sessions, run.id)

    def mirrored() -> tuple[object, ...]:
        seen = bench.mlflow.get_run(ids.run_id)
        points = {
            key: [(p.value, p.timestamp, p.step) for p in history]
            for key in seen.data.metrics
            if (history := bench.mlflow.get_metric_history(ids.run_id, key))
        }
        folders = ("", "tensors", "plots")
        listed = [f for folder in folders for f in bench.mlflow.list_artifacts(ids.run_id, folder)]
        files = {f.path: content(bench, ids, f.path) for f in listed if not f.is_dir}
        return points, files, seen.data.params, seen.data.tags, seen.info.end_time

    first = mirrored()
    assert len(first[1]) == 4  # type: ignore[arg-type]
    for _ in range(2):
        reopen(sessions, run.id)
        assert mirror.publish(sessions, bench.mlflow, bench.spool, run.id, app_url=bench.app_url)
        assert mirrored() == first
    assert ids_of(sessions, run.id) == ids


def test_a_second_mlflow_run_of_a_run_is_deleted(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = ids_of(sessions, run.id)
    double = bench.mlflow.create_run(ids.experiment_id, tags={"headbook.run": str(run.id)})
    stranger = bench.mlflow.create_run(ids.experiment_id)
    reopen(sessions, run.id)
    publish_if_ended(bench, run.id)
    assert bench.mlflow.get_run(double.info.run_id).info.lifecycle_stage == "deleted"
    for kept in (ids.run_id, stranger.info.run_id):
        assert bench.mlflow.get_run(kept).info.lifecycle_stage == "active"
    assert ensure_run(bench.mlflow, detail(sessions, run.id)) == ids


@pytest.fixture
def full_disk() -> Iterator[Callable[[bool], None]]:
    """Says whether the disk is full: no file of this process grows beyond half a tensor `wide`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def say(full: bool) -> None:
        soft = 8 * MANY * 4 // 2 if full else before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield say
    say(False)


def test_a_run_whose_worker_has_a_full_disk_waits_and_says_so(
    submit: Submit,
    bench: Workbench,
    other: Workbench,
    sessions: Sessions,
    wide: None,
    full_disk: Callable[[bool], None],
) -> None:
    run = submit(analysis="wide").run
    full_disk(True)
    assert work(bench, hint=None) == 3
    full_disk(False)
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.FINISHING, 1)
    assert line.reason is not None
    assert line.reason.startswith("waiting for room on w1: A tensor file cannot be kept in")
    assert "File too large" in line.reason
    assert bench.spool.copies() == []
    with transaction(sessions) as session:
        session.execute(update(RunRow).values(not_before=text("clock_timestamp()")))
    assert work(bench, hint=None) == 0  # another worker goes first
    assert work(other, hint=None) == 1
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    assert len(other.spool.copies()) == 2


def test_a_full_disk_gives_up_what_mlflow_was_seen_to_hold(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    wide: None,
    small_disk: Path,
) -> None:
    bench.home = Home(small_disk)
    run = submit(analysis="wide").run
    work(bench, hint=None)
    of_first = {each.sha256 for each in stored_tensors(sessions, run.id)}
    for name in of_first:
        os.utime(bench.spool.folder / name, (0, time.time() - 3600))
    extra = bench.spool.put(bytes(MANY))  # so that no other file of that size fits
    again = submit(analysis="wide", seed=1).run
    work(bench, hint=None)
    assert detail(sessions, again.id).line.published
    of_second = {each.sha256 for each in stored_tensors(sessions, again.id)}
    assert {copy.name for copy in bench.spool.copies()} == {extra, *of_second}


Publish = Callable[..., Result]


@pytest.fixture
def headbook_publish(
    bench: Workbench, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Publish:
    """The command, given on the host of the worker `bench`."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bench.mlflow.tracking_uri)
    monkeypatch.setenv("HEADBOOK_HOME", str(bench.home.root))
    return lambda *words: CliRunner().invoke(app, ["publish", *words])


def test_check_reads_back_what_is_published_and_repairs_what_it_can(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    headbook_publish: Publish,
    tmp_path: Path,
) -> None:
    old, new = (submit(seed=seed).run for seed in (0, 1))
    work(bench, hint=None)
    (of_old,), (of_new,) = (stored_tensors(sessions, run.id) for run in (old, new))
    path = of_old.mlflow_path
    assert headbook_publish().stdout == "MLflow is up to date.\n"
    fine = [f"{run.id}: {path} is as it was written" for run in (new, old)]
    checked = headbook_publish("--check")
    assert (checked.stdout.splitlines(), checked.exit_code) == (fine, 0)
    overwrite(bench.mlflow, ids_of(sessions, old.id), of_old, tmp_path)
    delete(bench.mlflow, ids_of(sessions, new.id), of_new, tmp_path)
    assert headbook_publish().stdout == "MLflow is up to date.\n"  # it has not looked
    mended = headbook_publish("--check", str(old.id))
    said = f"{old.id}: {path} is uploaded again from the spool\n"
    assert (mended.stdout, mended.exit_code) == (said, 0)
    (bench.spool.folder / of_new.sha256).unlink()
    lost = headbook_publish("--check")
    assert lost.exit_code == 1
    assert lost.stdout.splitlines() == [f"{new.id}: {path} is missing", fine[1]]
    assert lost.stderr.startswith(f"{new.id}: Of run {new.id}, {path} is missing. The worker w1")


def test_check_deletes_what_a_run_has_left_that_was_cancelled_between_its_tensors(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    wide: None,
    headbook_publish: Publish,
    tmp_path: Path,
) -> None:
    cancelled, other = (submit(analysis="wide", seed=seed).run for seed in (0, 1))

    def a_person_cancels() -> None:
        with transaction(sessions) as session:
            runs.cancel(session, cancelled.id)

    bench.mlflow = FreezingClient(bench.mlflow.tracking_uri, "bits.safetensors", a_person_cancels)
    assert work(bench, hint=cancelled.id) > 0
    states = [detail(sessions, run.id).line.state for run in (cancelled, other)]
    assert states == [RunState.CANCELLED, RunState.SUCCEEDED]
    left, kept = (ids_of(sessions, run.id) for run in (cancelled, other))
    note = tmp_path / "note.txt"
    note.write_text("a person's own")
    for ids in (left, kept):
        bench.mlflow.log_artifact(ids.run_id, str(note), "notes")

    def files(ids: MlflowIds, folder: str) -> list[str]:
        return sorted(each.path for each in bench.mlflow.list_artifacts(ids.run_id, folder))

    both = ["tensors/bits.safetensors", "tensors/zeros.safetensors"]
    assert files(left, "tensors") == files(kept, "tensors") == both
    gone = [
        f"{cancelled.id}: {path} is deleted, since the run ended without a result" for path in both
    ]
    fine = [f"{other.id}: {path} is as it was written" for path in both]
    checked = headbook_publish("--check")
    assert (sorted(checked.stdout.splitlines()), checked.exit_code) == (sorted(gone + fine), 0)
    assert (files(left, "tensors"), files(kept, "tensors")) == ([], both)
    assert files(left, "notes") == files(kept, "notes") == ["notes/note.txt"]
    assert sorted(headbook_publish("--check").stdout.splitlines()) == sorted(fine)


def test_publishing_one_run_leaves_the_others(
    submit: Submit, bench: Workbench, sessions: Sessions, headbook_publish: Publish
) -> None:
    first, second = (submit(seed=seed).run for seed in (0, 1))
    work(bench, hint=None)
    for run in (first, second):
        reopen(sessions, run.id)
    assert headbook_publish(str(first.id)).stdout == f"{first.id}: published\n"
    assert not detail(sessions, second.id).line.published
    assert isinstance(headbook_publish("--check", "ffffffff").exception, UnknownRun)
    checked = headbook_publish("--check").stdout.splitlines()
    assert [line.partition(": ")[0] for line in checked] == [str(second.id), str(first.id)]
