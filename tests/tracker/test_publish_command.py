"""`headbook publish`: what it brings up to date, checks, repairs and deletes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from stored_runs import detail, mlflow_ids, reopen, stored_tensors
from typer.testing import CliRunner, Result

from tracker.cli import app
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.store import runs
from tracker.store.publications import MlflowIds
from tracker.store.runs import UnknownRun
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit
from .harm import FreezingClient, delete, overwrite

Publish = Callable[..., Result]


@pytest.fixture
def headbook_publish(
    bench: WorkerContext, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Publish:
    """The command, given on the host of the worker `bench`."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bench.artifacts.mlflow.tracking_uri)
    monkeypatch.setenv("HEADBOOK_HOME", str(bench.home.root))
    return lambda *words: CliRunner().invoke(app, ["publish", *words])


def test_check_reads_back_what_is_published_and_repairs_what_it_can(
    submit: Submit,
    bench: WorkerContext,
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
    overwrite(bench.artifacts.mlflow, mlflow_ids(sessions, old.id), of_old, tmp_path)
    delete(bench.artifacts.mlflow, mlflow_ids(sessions, new.id), of_new, tmp_path)
    assert headbook_publish().stdout == "MLflow is up to date.\n"  # it has not looked
    mended = headbook_publish("--check", str(old.id))
    said = f"{old.id}: {path} is uploaded again from the spool\n"
    assert (mended.stdout, mended.exit_code) == (said, 0)
    (bench.artifacts.spool.folder / of_new.sha256).unlink()
    lost = headbook_publish("--check")
    assert lost.exit_code == 1
    assert lost.stdout.splitlines() == [f"{new.id}: {path} is missing", fine[1]]
    assert lost.stderr.startswith(
        f"{new.id}: Files of run {new.id} are lost: {path} is missing. The worker w1"
    )


def test_check_deletes_what_a_run_has_left_that_was_cancelled_between_its_tensors(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    wide: None,
    headbook_publish: Publish,
    tmp_path: Path,
) -> None:
    cancelled, other = (submit(analysis="wide", seed=seed).run for seed in (0, 1))

    def a_person_cancels() -> None:
        with transaction(sessions) as session:
            runs.cancel(session, cancelled.id)

    bench.artifacts.mlflow = FreezingClient(
        bench.artifacts.mlflow.tracking_uri, "bits.safetensors", a_person_cancels
    )
    assert work(bench, hint=cancelled.id) > 0
    states = [detail(sessions, run.id).line.state for run in (cancelled, other)]
    assert states == [RunState.CANCELLED, RunState.SUCCEEDED]
    left, kept = (mlflow_ids(sessions, run.id) for run in (cancelled, other))
    note = tmp_path / "note.txt"
    note.write_text("a person's own")
    for ids in (left, kept):
        bench.artifacts.mlflow.log_artifact(ids.run_id, str(note), "notes")

    def files(ids: MlflowIds, folder: str) -> list[str]:
        return sorted(
            each.path for each in bench.artifacts.mlflow.list_artifacts(ids.run_id, folder)
        )

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
    of_nothing = headbook_publish("--check", str(cancelled.id))
    assert of_nothing.stdout == "There are no published tensors to check.\n"
    assert of_nothing.exit_code == 0


def test_publishing_one_run_leaves_the_others(
    submit: Submit, bench: WorkerContext, sessions: Sessions, headbook_publish: Publish
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
