"""Runs that cannot be worked on, or not to the end, say why and cost no other run."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
import torch
from plain_connection import connect, cut_all
from sqlalchemy import text, update
from stored_runs import detail, mlflow_ids, vectors

from analyses import registry
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, ScoreKey
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.results import RunLine
from tracker.store import runs
from tracker.tables import RunRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

Behave = Callable[[Callable[[int], None]], None]
BEHAVIOUR: dict[str, Behave] = {}
GIVES: dict[str, float] = {}


class OddParams(Params):
    """None of its own."""


@pytest.fixture
def odd() -> Iterator[dict[str, Behave]]:
    """An analysis `odd` that does what the test puts under "does"."""

    @analysis("odd", version=1, params=OddParams)
    def odd(lm: Any, prompts: Any, params: Any, progress: Callable[[int], None]) -> Measured:
        """Does as it is told."""
        BEHAVIOUR["does"](progress)
        return Measured(
            scores={
                ScoreKey(MODEL, Quantity("one")): np.full(
                    int(GIVES.get("prompts", len(prompts))), GIVES.get("value", 1), np.float32
                )
            }
        )

    globals()["odd"] = odd
    yield BEHAVIOUR
    del registry._ANALYSES["odd"]
    BEHAVIOUR.clear()
    GIVES.clear()


def line_after_work(submit: Submit, bench: WorkerContext, **asked: Any) -> RunLine:
    """How a run looks that was queued and worked on."""
    run = submit(**asked).run
    work(bench, hint=None)
    return detail(bench.sessions, run.id).line


def test_a_model_whose_files_have_changed_is_not_measured(
    submit: Submit, bench: WorkerContext, sessions: Sessions, model_folder: Path, tmp_path: Path
) -> None:
    weights = model_folder / "model.safetensors"
    run = submit().run
    shutil.copy(weights, tmp_path / "kept")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    try:
        weights.write_bytes(content)
        work(bench, hint=None)
    finally:
        shutil.copy(tmp_path / "kept", weights)
    line = detail(sessions, run.id).line
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert "has changed since it was submitted" in line.reason


def test_a_worker_that_lacks_the_model_leaves_the_run_to_others_and_then_says_why(
    submit: Submit, bench: WorkerContext, sessions: Sessions, tmp_path: Path
) -> None:
    run = submit().run
    bench.roots = (tmp_path / "elsewhere",)
    assert work(bench, hint=None) == 1
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 2)
    assert line.reason is not None
    assert line.reason.startswith("w1: ")
    assert "is outside the model roots" in line.reason
    another = WorkerContext(**vars(bench) | {"name": "w2", "roots": (), "avoid": {}})
    assert work(another, hint=None) == 3
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED


def test_a_run_of_another_version_is_not_mixed_with_this_one(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    with transaction(sessions) as session:
        session.execute(update(RunRow).values(engine_version=99))
    for _ in range(3):
        bench.avoid.clear()
        work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert "on engine 99" in line.reason


def test_an_analysis_that_gives_too_few_values_is_told_so(
    submit: Submit, bench: WorkerContext, odd: dict[str, Behave]
) -> None:
    odd["does"] = lambda _: None
    GIVES["prompts"] = 3
    line = line_after_work(submit, bench, analysis="odd")
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert "returned a score 'one' of MODEL of shape (3,) for 4 prompts" in line.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_ends_the_run_and_is_no_skipped_prompt(
    submit: Submit, bench: WorkerContext, odd: dict[str, Behave], value: float
) -> None:
    odd["does"] = lambda _: None
    GIVES["value"] = value
    line = line_after_work(submit, bench, analysis="odd")
    assert line.state is RunState.FAILED
    said = f"The analysis returned {value} for score 'one' of MODEL of prompt 0"
    assert (line.reason or "").startswith(said)


def test_a_database_that_is_away_for_a_moment_costs_no_run(
    submit: Submit, bench: WorkerContext, odd: dict[str, Behave], database_url: str
) -> None:
    odd["does"] = lambda _: cut_all(database_url)
    line = line_after_work(submit, bench, analysis="odd")
    assert (line.state, line.attempt) == (RunState.SUCCEEDED, 1)


def renamed(database_url: str, old: str, new: str) -> None:
    with connect(database_url) as connection:
        connection.execute(f"ALTER TABLE headbook.{old} RENAME TO {new}")


def test_a_table_that_an_upgrade_has_yet_to_make_is_waited_for(
    submit: Submit, bench: WorkerContext, odd: dict[str, Behave], database_url: str
) -> None:
    def upgrade_soon(_: object) -> None:
        renamed(database_url, "part_score", "to_come")
        Timer(0.5, renamed, (database_url, "to_come", "part_score")).start()

    odd["does"] = upgrade_soon
    line = line_after_work(submit, bench, analysis="odd", prompts_per_part=8)
    assert (line.state, line.attempt) == (RunState.SUCCEEDED, 1)


def test_a_run_on_a_schema_of_another_version_goes_back_and_does_not_fail(
    submit: Submit, bench: WorkerContext, sessions: Sessions, database_url: str
) -> None:
    run = submit().run
    renamed(database_url, "prompt", "to_come")
    try:
        assert work(bench, hint=None) == 1
    finally:
        renamed(database_url, "to_come", "prompt")
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 1)
    assert str(line.reason).startswith("waiting for the schema: The database does not have")


def test_an_analysis_that_raises_fails_its_run_and_the_next_run_is_served(
    submit: Submit, bench: WorkerContext, sessions: Sessions, odd: dict[str, Behave]
) -> None:
    def raises(_: object) -> None:
        raise ZeroDivisionError("by zero\nand more")

    odd["does"] = raises
    broken = submit(analysis="odd").run
    work(bench, hint=None)
    line = detail(sessions, broken.id).line
    assert line.state is RunState.FAILED
    assert line.reason.startswith(
        "error: 'odd' of a 'llama' model ended with ZeroDivisionError: by zero and more. The run's"
    )
    ids = mlflow_ids(sessions, broken.id)
    assert bench.artifacts.mlflow.get_run(ids.run_id).info.status == "FAILED"
    odd["does"] = lambda _: None
    served = submit(analysis="odd", seed=1).run
    work(bench, hint=None)
    assert detail(sessions, served.id).line.state is RunState.SUCCEEDED


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_running_out_of_memory_is_tried_again_and_then_fails_as_oom(
    submit: Submit,
    bench: WorkerContext,
    odd: dict[str, Behave],
    error: type[Exception],
) -> None:
    tries = []

    def grows(_: object) -> None:
        tries.append(1)
        raise error("too big")

    odd["does"] = grows
    line = line_after_work(submit, bench, analysis="odd")
    assert (line.state, line.reason) == (RunState.FAILED, "oom: too big; attempt 3 of 3")
    assert len(tries) == 3


def test_what_nobody_knows_of_the_database_is_an_attempt_and_not_the_end(
    submit: Submit, bench: WorkerContext, sessions: Sessions, odd: dict[str, Behave]
) -> None:
    codes = ["XX001", "58030"]

    def asks(_: object) -> None:
        while codes:
            raised = f"RAISE EXCEPTION 'nein' USING ERRCODE = '{codes.pop()}'"
            with transaction(sessions) as session:
                session.execute(text(f"DO $$ BEGIN {raised}; END $$"))

    odd["does"] = asks
    line = line_after_work(submit, bench, analysis="odd")
    assert (line.state, line.attempt) == (RunState.SUCCEEDED, 3)


def test_a_run_that_is_cancelled_while_it_is_measured_stops_and_stores_nothing(
    submit: Submit, bench: WorkerContext, sessions: Sessions, odd: dict[str, Behave]
) -> None:
    bench.limits = replace(bench.limits, heartbeat=0.05)

    def waits_for_the_end(progress: Callable[[int], None]) -> None:
        with transaction(sessions) as session:
            runs.cancel(session, run.id)
        while True:
            progress(1)

    odd["does"] = waits_for_the_end
    run = submit(analysis="odd").run
    work(bench, hint=None)
    assert detail(sessions, run.id).line.state is RunState.CANCELLED
    assert vectors(sessions, run.id) == {}
