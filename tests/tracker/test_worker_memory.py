"""A worker takes no run that it is too small for; what none can hold fails in a sentence."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from stored_runs import detail
from tokenizers import Tokenizer

from tracker import reports
from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.devices import Capability, Device
from tracker.domain import Model, PartClaim, Run, RunState
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.store import endings, next_work, parts, runs, workers
from tracker.tables import PromptRow, RunRow, WorkerRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from . import needing
from .conftest import MakeRun, Submit
from .part_work import claim, expire, finish, state_of

GIB = 2**30


def up(sessions: Sessions, name: str, memory: int | None, *, only_above: int | None = None) -> None:
    """A worker with one device of that memory."""
    device = Device(kind="cuda", name="A10G", memory=memory or 0)
    known = Capability(devices=(device,), spreads=False, host_memory=64 * GIB)
    with transaction(sessions) as session:
        workers.seen(
            session,
            name=name,
            host="h",
            pid=1,
            device="cuda",
            only_above=only_above,
            capability=None if memory is None else known,
        )


def claimed_by(sessions: Sessions, run: Run, worker: str) -> PartClaim | None:
    """What the worker gets of the run; it must get it exactly where it sees that it waits."""
    with transaction(sessions) as session:
        waits = parts.waiting_runs(session, loaded=(), hint=None, worker=worker)
        errand = next_work.next_work(session, None, worker=worker)
        found = parts.claim(session, run.id, worker=worker, lease=60)
    assert (waits == [run.id]) == (found is not None)
    assert (errand is not None and errand.run_id == run.id) == (found is not None)
    return found


@pytest.mark.parametrize(
    ("needs", "has", "takes"),
    [
        (16 * GIB, 16 * GIB, True),
        (16 * GIB + 1, 16 * GIB, False),
        (None, 16 * GIB, True),
        (16 * GIB, None, True),
        (None, None, True),
    ],
)
def test_a_worker_claims_what_fits_and_what_is_not_known(
    make_run: MakeRun, sessions: Sessions, needs: int | None, has: int | None, takes: bool
) -> None:
    run = make_run(needs_memory=needs)
    up(sessions, "w1", has)
    assert (claimed_by(sessions, run, "w1") is not None) == takes


def test_a_run_that_fits_nowhere_waits_beside_others_and_is_no_obstacle(
    make_run: MakeRun, sessions: Sessions
) -> None:
    large = [make_run(needs_memory=40 * GIB) for _ in range(25)]  # more than are looked at
    small = make_run(needs_memory=GIB)
    up(sessions, "w1", 16 * GIB)
    with transaction(sessions) as session:
        assert parts.waiting_runs(session, loaded=(), hint=large[0].id, worker="w1") == [small.id]
    line = detail(sessions, large[0].id).line
    assert line.reason == "waiting: needs 40 GB; the largest worker has 16 GB"
    assert detail(sessions, small.id).line.reason is None
    with transaction(sessions) as session:
        assert reports.queue_state(session).too_large == 25
    up(sessions, "w2", 80 * GIB)
    assert detail(sessions, large[0].id).line.reason is None
    with transaction(sessions) as session:
        assert reports.queue_state(session).too_large == 0


def test_a_run_is_finished_by_whoever_is_there(make_run: MakeRun, sessions: Sessions) -> None:
    run = make_run(needs_memory=40 * GIB, bounds=[(0, 8)])
    up(sessions, "small", 16 * GIB)
    up(sessions, "large", 80 * GIB)
    finish(sessions, claim(sessions, run.id, "large"))
    assert detail(sessions, run.id).line.reason is None
    assert claimed_by(sessions, run, "small") is not None


@pytest.mark.parametrize(
    ("needs", "refused", "takes"),
    [(8 * GIB, None, False), (24 * GIB, None, True), (None, None, False), (None, 16 * GIB, True)],
)
def test_a_worker_for_large_runs_leaves_the_others_to_others(
    make_run: MakeRun, sessions: Sessions, needs: int | None, refused: int | None, takes: bool
) -> None:
    run = make_run(needs_memory=needs, refused_memory=refused)
    up(sessions, "wide", 64 * GIB, only_above=16 * GIB)
    assert (claimed_by(sessions, run, "wide") is not None) == takes


def refuse(sessions: Sessions, claimed: PartClaim, worker: str) -> None:
    with transaction(sessions) as session:
        endings.too_small(session, claimed, worker=worker, reason="oom: too big")


def test_what_one_worker_is_too_small_for_goes_to_a_larger_one_and_costs_no_attempt(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    for name, memory in (("small", 16), ("alike", 16), ("large", 80)):
        up(sessions, name, memory * GIB)
    refuse(sessions, claim(sessions, run.id, "small"), "small")
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 1)
    assert line.reason == "too large for small: oom: too big"
    assert claimed_by(sessions, run, "small") is None
    assert claimed_by(sessions, run, "alike") is None
    assert claimed_by(sessions, run, "large") is not None


def test_a_run_fails_when_no_worker_of_the_last_hour_is_larger(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    up(sessions, "small", 16 * GIB)
    up(sessions, "larger", 24 * GIB)
    up(sessions, "long gone", 80 * GIB)
    with transaction(sessions) as session:
        away = update(WorkerRow).where(WorkerRow.name == "long gone")
        session.execute(away.values(last_seen=func.now() - func.make_interval(0, 0, 0, 0, 2)))
        workers.stopped(session, name="larger")  # to be started again, perhaps
    refuse(sessions, claim(sessions, run.id, "small"), "small")
    line = detail(sessions, run.id).line
    assert (line.state, line.reason) == (
        RunState.QUEUED,
        "waiting: needs more than 16 GB; the largest worker has 16 GB",
    )
    up(sessions, "larger", 24 * GIB)
    refuse(sessions, claim(sessions, run.id, "larger"), "larger")
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt, line.reason) == (
        RunState.FAILED,
        1,
        "oom: too big. It needs more than 24 GB of memory, and the largest worker of the last "
        "hour, larger, has 24 GB. Start a worker with more memory, or add the model in a smaller "
        "dtype; then queue it again.",
    )


def test_a_worker_of_unknown_size_spends_an_attempt(make_run: MakeRun, sessions: Sessions) -> None:
    run = make_run()
    up(sessions, "w1", None)
    for _ in range(3):
        refuse(sessions, claim(sessions, run.id, "w1"), "w1")
    line = detail(sessions, run.id).line
    assert (line.state, line.reason) == (RunState.FAILED, "oom: too big; attempt 3 of 3")


def test_a_refusal_of_a_part_that_was_lost_changes_nothing(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    up(sessions, "w1", 16 * GIB)
    lost = claim(sessions, run.id, "w1")
    expire(sessions, lost)
    with transaction(sessions) as session:
        endings.reap(session, run.id)
    refuse(sessions, lost, "w1")
    with transaction(sessions) as session:
        assert session.get_one(RunRow, run.id).refused_memory is None
    assert state_of(sessions, run.id) is RunState.QUEUED
    assert claimed_by(sessions, run, "w1") is not None


def test_a_run_that_is_cancelled_is_not_failed_by_a_refusal(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    up(sessions, "w1", 16 * GIB)
    claimed = claim(sessions, run.id, "w1")
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    refuse(sessions, claimed, "w1")
    assert state_of(sessions, run.id) is RunState.CANCELLED


@pytest.fixture
def bench(sessions: Sessions, home: Home) -> Iterator[WorkerContext]:
    """A worker that no run asks to store a tensor or to publish."""
    aside = db.beside(sessions)
    yield WorkerContext(
        name="w1",
        sessions=sessions,
        aside=aside,
        home=home,
        device="cpu",
        artifacts=ArtifactStore(
            mlflow=mlflow_client("http://127.0.0.1:9"), spool=Spool(home.spool)
        ),
        roots=(),
    )
    db.close(aside)


def needs_of(sessions: Sessions, run_id: UUID) -> int | None:
    with transaction(sessions) as session:
        return session.get_one(RunRow, run_id).needs_memory


def test_what_a_run_needs_is_its_weights_and_a_prompt_in_a_layer(
    submit: Submit, sessions: Sessions, tiny: Model, model_folder: Any
) -> None:
    run = submit().run
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    with transaction(sessions) as session:
        texts = session.scalars(
            select(PromptRow.text).where(PromptRow.distribution_id == run.distribution_id)
        ).all()
    longest = max(len(tokenizer.encode(text).ids) for text in texts)
    weights = (model_folder / "model.safetensors").stat().st_size
    assert tiny.n_bytes is not None
    assert tiny.n_bytes == pytest.approx(weights, rel=0.02)
    # fp32; the widest map and the residual both have 32 dimensions
    assert needs_of(sessions, run.id) == tiny.n_bytes + longest * 4 * (6 * 32 + 16 * 32)


def test_an_analysis_without_a_model_needs_no_memory(submit: Submit, sessions: Sessions) -> None:
    made = submit(analysis="categorise")
    assert needs_of(sessions, made.run.id) is None
    assert all(needs_of(sessions, each.id) for each in made.inputs.values())


@pytest.mark.parametrize(
    ("beside", "reason", "attempt"),
    [
        (False, "too large for w1: oom: too big", 1),
        (True, "oom: too big; attempt 2 of 3 is queued", 2),
    ],
)
def test_a_worker_that_runs_out_of_memory_leaves_the_run_to_larger_ones_unless_it_was_crowded(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    tiny: Model,
    beside: bool,
    reason: str,
    attempt: int,
) -> None:
    up(sessions, "w1", 16 * GIB)
    up(sessions, "w2", 80 * GIB)

    def once() -> None:
        bench.stop._event.set()  # so that this part is the last
        raise MemoryError("too big")

    with needing.registered():
        run = submit(analysis="sizes", prompts_per_part=8).run
        needing.BEFORE.append(once)
        lm = bench.language_model(tiny)
        if beside:
            bench.loaded.add(replace(tiny, id=tiny.id + 1, name="other"), lm)
        work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.reason, line.attempt) == (RunState.QUEUED, reason, attempt)
    assert bench.loaded.ids == []
