"""Runs wait for those they need, read what they have found, and end with them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from sqlalchemy import select
from stored_runs import detail, due_now, mlflow_ids, stored_tensors

from analyses.prompts.distributions import DistributionSpec
from tracker.database.db import Sessions, transaction
from tracker.domain import Priority, Run, RunState
from tracker.store import publications, scores
from tracker.tables import RunEventRow, RunRow
from tracker.working.context import WorkerContext
from tracker.working.execution import publish_if_ended, work

from . import needing
from .conftest import Submit
from .harm import flip_a_bit
from .needing import SHARE, SIZE, TOTAL


@pytest.fixture(autouse=True)
def _needing() -> Iterator[None]:
    with needing.registered():
        yield


def shares(sessions: Sessions, run: Run) -> np.ndarray:
    with transaction(sessions) as session:
        return scores.vectors_and_means(session, run.id)[0][SHARE]


def test_runs_are_worked_on_in_the_order_they_need_each_other_in(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    made = submit(analysis="again", priority=Priority.NOW)
    work(bench, hint=made.run.id)
    assert detail(sessions, made.run.id).line.state is RunState.SUCCEEDED
    with transaction(sessions) as session:
        told = session.execute(
            select(RunRow.analysis, RunEventRow.event)
            .join(RunRow, RunRow.id == RunEventRow.run_id)
            .where(RunEventRow.part.is_(None), RunEventRow.event.in_(["running", "succeeded"]))
            .order_by(RunEventRow.seq)
        ).all()
    assert [tuple(each) for each in told] == [
        (analysis, event)
        for analysis in ("sizes", "sizes", "shares", "again")
        for event in ("running", "succeeded")
    ]


def test_an_analysis_is_handed_what_its_inputs_have_found(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    made = submit(analysis="shares", params={"rank": 3, "batch_size": 2})
    work(bench, hint=None)
    first, second = needing.HANDED  # two parts
    assert first is second  # loaded once
    for name, run in made.inputs.items():
        with transaction(sessions) as session:
            vectors, means = scores.vectors_and_means(session, run.id)
        lengths = vectors[SIZE]
        assert lengths.dtype == np.float32
        assert lengths.min() > 20
        handed = first[name]
        np.testing.assert_array_equal(handed.scores[SIZE], lengths)
        assert handed.means == means
        assert handed.means[SIZE] == np.float64(lengths.mean(dtype=np.float64))
        assert handed.means[TOTAL] == float(lengths.sum(dtype=np.float64)) / 3  # every bit
        assert handed.tensors["table"].axes == ("power",)
        np.testing.assert_array_equal(
            handed.tensors["table"].values, needing.table(lengths.tolist(), 3)
        )
        np.testing.assert_array_equal(handed.tensors["lengths"].values[:, 0], lengths)
    submit()
    work(bench, hint=None)
    assert bench.inputs is not None
    assert bench.inputs[1] == {}  # let go of when another run is taken


def test_one_or_four_parts_read_the_same_and_give_the_same_bits(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    asked = {"analysis": "shares", "params": {"rank": 2, "batch_size": 2}}
    whole = submit(**asked, prompts_per_part=8).run
    work(bench, hint=None)
    cut = submit(**asked, prompts_per_part=2, force=True).run
    bench.inputs = None
    work(bench, hint=None)
    assert (whole.n_parts, cut.n_parts) == (1, 4)
    assert len(needing.HANDED) == 5
    np.testing.assert_array_equal(shares(sessions, whole), shares(sessions, cut))
    assert np.isfinite(shares(sessions, cut)).all()


def test_two_workers_race_through_a_chain_without_a_part_done_twice(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    made = [
        submit(analysis="again", params={"scale": scale, "batch_size": 1}, prompts_per_part=1)
        for scale in (1, 2)
    ]
    other = WorkerContext(**vars(bench) | {"name": "w2", "avoid": {}})

    def work_till_all_is_done(each: WorkerContext) -> None:
        while any(not detail(sessions, one.run.id).line.ended for one in made):
            work(each, hint=None)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work_till_all_is_done, (bench, other)))
    with transaction(sessions) as session:
        again = select(RunEventRow.run_id, RunEventRow.part).where(
            RunEventRow.part.is_not(None), RunEventRow.event == "succeeded"
        )
        done = [tuple(each) for each in session.execute(again)]
        states = set(session.scalars(select(RunRow.state)))
    assert states == {RunState.SUCCEEDED}
    assert len(done) == len(set(done)) == 6 * (8 + 1)
    assert len(needing.HANDED) == 2 * 8


@pytest.mark.parametrize("known", [True, False])
def test_inputs_are_handed_over_to_analyses_of_known_prompts_too(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    accuracy = lambda lm, prompts, batch_size: np.array(  # noqa: E731
        [float(known and each.number % 2) for each in prompts], np.float32
    )
    monkeypatch.setattr("analyses.knowledge.content_accuracy", accuracy)
    made = submit(analysis="shares", params={"prompts": "known", "batch_size": 2})
    work(bench, hint=None)
    assert detail(sessions, made.run.id).line.state is RunState.SUCCEEDED
    assert len(needing.HANDED) == (2 if known else 0)
    if known:
        assert np.isfinite(shares(sessions, made.run)).tolist() == [False, True] * 4


def test_a_failed_need_ends_what_waits_and_both_are_published(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    def raises() -> None:
        raise ZeroDivisionError("by zero")

    needing.BEFORE.append(raises)
    made = submit(analysis="again")
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert line.state is RunState.CANCELLED
    assert "failed: error: 'sizes' of a 'llama' model ended with" in (line.reason or "")
    assert "ZeroDivisionError: by zero" in (line.reason or "")
    with transaction(sessions) as session:
        waiting = publications.due(session)
    assert made.run.id in waiting
    publish_if_ended(bench, made.run.id)
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, made.run.id)
    assert ids is not None
    assert bench.artifacts.mlflow.get_run(ids.run_id).info.status == "KILLED"


def test_a_run_waits_for_mlflow_to_read_what_it_needs(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    spec = DistributionSpec(size=8)
    for prompts in (spec, needing.others(spec)):
        submit(analysis="sizes", distribution=prompts)
    work(bench, hint=None)
    made = submit(analysis="shares")
    there, bench.artifacts.mlflow = bench.artifacts.mlflow, MlflowClient("http://127.0.0.1:1")
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 1)
    assert (line.reason or "").startswith("waiting for MLflow")
    bench.artifacts.mlflow = there
    bench.artifacts.pause.end()
    due_now(sessions, made.run.id)
    work(bench, hint=None)
    assert detail(sessions, made.run.id).line.state is RunState.SUCCEEDED


def test_a_tensor_that_was_changed_meanwhile_fails_the_run_that_reads_it_without_a_copy(
    submit: Submit, bench: WorkerContext, sessions: Sessions, tmp_path: Path
) -> None:
    needed = submit(analysis="sizes").run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, needed.id)
    (stored,) = [each for each in stored_tensors(sessions, needed.id) if each.name == "table"]
    flip_a_bit(bench.artifacts.mlflow, ids, stored, tmp_path)
    (bench.artifacts.spool.folder / stored.sha256).unlink()
    made = submit(analysis="shares")
    assert made.inputs["same"].id == needed.id
    for _ in range(made.run.max_attempts):
        bench.avoid.clear()
        work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert line.state is RunState.FAILED
    assert f"tensors/table.safetensors of run {needed.id}, which is not what was written" in (
        line.reason or ""
    )
