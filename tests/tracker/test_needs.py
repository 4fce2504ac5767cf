"""Runs that need others are queued with them, wait for them, and read what they have found."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from mlflow import MlflowClient
from sqlalchemy import func, select, text, update

from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.spec import MOST_SEED
from tracker import reports
from tracker.db import Sessions, transaction
from tracker.domain import Model, Priority, Run, RunState
from tracker.execution import Workbench, publish_if_ended, work
from tracker.home import Home
from tracker.reports import RunDetail
from tracker.store import publications, runs, scores, studies, tensors
from tracker.submission import InvalidRequest, Request, submit_all
from tracker.tables import DistributionRow, RunEventRow, RunInputRow, RunRow

from . import needing
from .conftest import Submit
from .needing import SHARE, SIZE, TOTAL


@pytest.fixture(autouse=True)
def _needing() -> Iterator[None]:
    with needing.registered():
        yield


def detail(sessions: Sessions, run_id: UUID) -> RunDetail:
    with transaction(sessions) as session:
        return reports.run_detail(session, run_id)


def count(sessions: Sessions, table: type = RunRow) -> int:
    with transaction(sessions) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def shares(sessions: Sessions, run: Run) -> np.ndarray:
    with transaction(sessions) as session:
        return scores.vectors_and_means(session, run.id)[0][SHARE]


def test_what_a_run_needs_is_queued_with_it_and_joins_its_study(
    submit: Submit, sessions: Sessions
) -> None:
    made = submit(analysis="shares", study="scan")
    assert made.new
    assert {name: run.analysis for name, run in made.inputs.items()} == {
        "same": "sizes",
        "others": "sizes",
    }
    assert made.inputs["same"].distribution_id == made.run.distribution_id
    assert made.inputs["others"].distribution_id != made.run.distribution_id
    assert all(run.seed == made.run.seed for run in made.inputs.values())
    for run in (made.run, *made.inputs.values()):
        assert list(detail(sessions, run.id).studies.values()) == ["scan"]
    seen = detail(sessions, made.run.id)
    assert {(link.name, link.id, link.state.value) for link in seen.inputs} == {
        (name, run.id, "queued") for name, run in made.inputs.items()
    }
    (link,) = detail(sessions, made.inputs["same"].id).dependants
    assert (link.name, link.id, link.analysis) == ("same", made.run.id, "shares")


def test_two_runs_that_need_the_same_share_it(submit: Submit, sessions: Sessions) -> None:
    first = submit(analysis="shares")
    second = submit(analysis="shares", params={"scale": 2, "batch_size": 2})
    assert first.run.id != second.run.id
    assert {name: run.id for name, run in first.inputs.items()} == {
        name: run.id for name, run in second.inputs.items()
    }
    assert count(sessions) == 4
    again = submit(analysis="shares")
    assert (again.new, again.run.id) == (False, first.run.id)
    assert again.inputs == first.inputs


def test_a_chain_is_queued_whole_and_each_link_once(submit: Submit, sessions: Sessions) -> None:
    made = submit(analysis="again", study="chain")
    assert (count(sessions), count(sessions, RunInputRow)) == (4, 3)
    (needed,) = made.inputs.values()
    assert {link.name for link in detail(sessions, needed.id).inputs} == {"same", "others"}
    with transaction(sessions) as session:
        every = session.scalars(select(RunRow.id)).all()
    assert all(detail(sessions, each).studies for each in every)


def test_the_fingerprint_covers_what_a_run_needs(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(analysis="shares").run
    monkeypatch.setattr(
        needing, "others", lambda spec: spec.model_copy(update={"seed": spec.seed + 2})
    )
    second = submit(analysis="shares").run
    assert first.params == second.params
    assert first.fingerprint != second.fingerprint


def test_a_forced_run_is_new_and_reuses_what_it_needs(submit: Submit, sessions: Sessions) -> None:
    first = submit(analysis="shares")
    second = submit(analysis="shares", force=True)
    assert second.new
    assert second.run.id != first.run.id
    assert second.inputs == first.inputs
    assert count(sessions) == 4


def test_what_failed_or_was_cancelled_is_queued_anew(submit: Submit, sessions: Sessions) -> None:
    first = submit(analysis="shares")
    with transaction(sessions) as session:
        runs.cancel(session, first.inputs["others"].id)
    assert detail(sessions, first.run.id).line.state is RunState.CANCELLED
    second = submit(analysis="shares")
    assert second.new
    assert second.inputs["same"].id == first.inputs["same"].id
    assert second.inputs["others"].id != first.inputs["others"].id


def test_what_a_run_needs_is_as_urgent_as_itself(submit: Submit, sessions: Sessions) -> None:
    made = submit(analysis="shares", priority=Priority.LATER)
    urgent = submit(analysis="again", priority=Priority.NOW)
    with transaction(sessions) as session:
        ranks = dict(session.execute(select(RunRow.id, RunRow.priority)).all())
    assert ranks == dict.fromkeys(
        (made.run.id, urgent.run.id, *(run.id for run in made.inputs.values())), 0
    )
    submit(analysis="shares", params={"scale": 2}, priority=Priority.LATER)
    with transaction(sessions) as session:
        assert runs.run(session, made.run.id)
        assert session.get_one(RunRow, made.inputs["same"].id).priority == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"analysis": "shares", "params": {"rank": 50}}, "^rank: 50 is more than the 8 dimensions"),
        (
            {"analysis": "again", "distribution": DistributionSpec(seed=MOST_SEED, size=8)},
            "It needs 'shares', a run of 'shares': The distribution cannot be made: seed",
        ),
        ({"analysis": "endless"}, "More than 8 runs in a row need each other.*'endless'"),
        ({"analysis": "shares", "seed": -1}, "A seed is from 0 to"),
    ],
)
def test_what_no_run_or_need_could_do_is_refused_and_nothing_is_written(
    submit: Submit, sessions: Sessions, change: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        submit(study="mine", **change)
    assert count(sessions) == count(sessions, DistributionRow) == 0


def test_nothing_is_half_written_when_the_last_row_cannot_be(
    submit: Submit, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(studies, "add_to_study", breaks)
    with pytest.raises(ZeroDivisionError):
        submit(analysis="again", study="mine")
    assert count(sessions) == count(sessions, RunInputRow) == count(sessions, DistributionRow) == 0


def test_the_same_runs_asked_for_at_once_in_any_order_are_recorded_once(
    sessions: Sessions, home: Home, tiny: Model
) -> None:
    asked = [
        Request(
            analysis="shares",
            model="tiny",
            distribution=DistributionSpec(size=4, seed=seed),
            params={"scale": scale},
            created_by="ada",
            study="scan",
        )
        for seed in (0, 1)
        for scale in (1, 2, 3)
    ]

    def submit_some(number: int) -> list[UUID]:
        mine = random.Random(number).sample(asked, len(asked))
        return [each.run.id for each in submit_all(mine, sessions=sessions, home=home)]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(submit_some, range(6)))
    assert {frozenset(each) for each in found} == {frozenset(found[0])}
    assert count(sessions) == 6 + 3  # the others of the first seed are the same of the second


def test_runs_are_worked_on_in_the_order_they_need_each_other_in(
    submit: Submit, bench: Workbench, sessions: Sessions
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
    submit: Submit, bench: Workbench, sessions: Sessions
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
    submit: Submit, bench: Workbench, sessions: Sessions
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
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    made = [
        submit(analysis="again", params={"scale": scale, "batch_size": 1}, prompts_per_part=1)
        for scale in (1, 2)
    ]
    other = Workbench(**vars(bench) | {"name": "w2", "avoid": {}})

    def work_till_all_is_done(each: Workbench) -> None:
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
    bench: Workbench,
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
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    def raises() -> None:
        raise ZeroDivisionError("by zero")

    needing.BEFORE.append(raises)
    made = submit(analysis="again")
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert line.state is RunState.CANCELLED
    assert (line.reason or "").endswith("failed: error: ZeroDivisionError: by zero")
    with transaction(sessions) as session:
        waiting = publications.due(session)
    assert made.run.id in waiting
    publish_if_ended(bench, made.run.id)
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, made.run.id)
    assert ids is not None
    assert bench.mlflow.get_run(ids.run_id).info.status == "KILLED"


def test_a_run_waits_for_mlflow_to_read_what_it_needs(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    spec = DistributionSpec(size=8)
    for prompts in (spec, needing.others(spec)):
        submit(analysis="sizes", distribution=prompts)
    work(bench, hint=None)
    made = submit(analysis="shares")
    there, bench.mlflow = bench.mlflow, MlflowClient("http://127.0.0.1:1")
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 1)
    assert (line.reason or "").startswith("waiting for MLflow")
    bench.mlflow = there
    bench.pause.end()
    with transaction(sessions) as session:
        session.execute(
            update(RunRow)
            .where(RunRow.id == made.run.id)
            .values(not_before=text("clock_timestamp()"))
        )
    work(bench, hint=None)
    assert detail(sessions, made.run.id).line.state is RunState.SUCCEEDED


def test_a_tensor_that_was_changed_meanwhile_fails_the_run_that_reads_it(
    submit: Submit, bench: Workbench, sessions: Sessions, tmp_path: Path
) -> None:
    needed = submit(analysis="sizes").run
    work(bench, hint=None)
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, needed.id)
        stored = next(each for each in tensors.tensors(session, needed.id) if each.name == "table")
    assert ids is not None
    file = Path(bench.mlflow.download_artifacts(ids.run_id, stored.mlflow_path, str(tmp_path)))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    bench.mlflow.log_artifact(ids.run_id, str(file), "tensors")
    made = submit(analysis="shares")
    assert made.inputs["same"].id == needed.id
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert line.state is RunState.FAILED
    assert "tensors/table.safetensors is not what was written" in (line.reason or "")
