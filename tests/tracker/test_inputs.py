"""A run waits for the runs it needs, and is cancelled when one of them ends badly."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import aliased

from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import ACTIVE, PartState, RunState
from tracker.domain.run_notes import RunNotes
from tracker.results import RunLine
from tracker.store import endings, inputs, parts, runs
from tracker.tables import PartRow, RunEventRow, RunInputRow, RunRow

from .conftest import MakeRun
from .part_work import claim, expire, finish, state_of


def line_of(sessions: Sessions, run_id: UUID) -> RunLine:
    with transaction(sessions) as session:
        return results.runs(session, ids=[run_id])[0]


def waiting(sessions: Sessions) -> list[UUID]:
    """The runs that a worker may claim a part of."""
    with transaction(sessions) as session:
        return parts.waiting_runs(session, loaded=(), hint=None)


def succeed(sessions: Sessions, run_id: UUID) -> None:
    with transaction(sessions) as session:
        n_parts = runs.run(session, run_id).n_parts
    for _ in range(n_parts):
        finish(sessions, claim(sessions, run_id))
    last = claim(sessions, run_id)
    with transaction(sessions) as session:
        parts.fence(session, last, lease=60)
        endings.finish_run(session, last, notes=RunNotes())


def fail(sessions: Sessions, run_id: UUID, reason: str = "oom") -> None:
    claimed = claim(sessions, run_id)
    with transaction(sessions) as session:
        endings.fail(session, claimed, reason=reason)


def test_a_run_is_neither_claimed_nor_rung_for_until_all_its_inputs_have_succeeded(
    sessions: Sessions, make_run: MakeRun
) -> None:
    first, second = make_run(bounds=[(0, 8)]), make_run(bounds=[(0, 8)])
    run = make_run(inputs={"bases": first.id, "effects": second.id})
    for needed in (first, second):
        assert run.id not in waiting(sessions)
        with transaction(sessions) as session:
            assert parts.claim(session, run.id, worker="w", lease=60) is None
            assert run.id not in runs.take_due(session)
        succeed(sessions, needed.id)
    assert waiting(sessions) == [run.id]
    with transaction(sessions) as session:
        assert runs.take_due(session) == [run.id]  # at once: no bell was wasted on it before
    assert claim(sessions, run.id).number == 0


def test_a_run_says_what_it_waits_for(sessions: Sessions, make_run: MakeRun) -> None:
    first, second = make_run(bounds=[(0, 8)]), make_run(analysis="patching")
    run = make_run(inputs={"bases": first.id, "effects": second.id})
    short, other = str(first.id)[:8], str(second.id)[:8]
    assert line_of(sessions, first.id).reason is None
    assert (
        line_of(sessions, run.id).reason
        == f"waiting for run {short} (attribution), {other} (patching)"
    )
    succeed(sessions, first.id)
    assert line_of(sessions, run.id).reason == f"waiting for run {other} (patching)"
    fail(sessions, second.id)
    assert (line_of(sessions, run.id).reason or "").startswith("its input, run")


def test_a_failed_input_takes_all_that_wait_for_it_along_and_says_why(
    sessions: Sessions, make_run: MakeRun
) -> None:
    needed, done = make_run(), make_run(bounds=[(0, 8)])
    succeed(sessions, done.id)
    run = make_run(inputs={"bases": needed.id, "effects": done.id}, analysis="sweep")
    after = make_run(inputs={"sweep": run.id})
    apart = make_run(inputs={"effects": done.id})
    fail(sessions, needed.id, reason="layer 3 does not close")
    lines = [line_of(sessions, each.id) for each in (run, after, apart, done)]
    assert [line.state.value for line in lines] == [
        "cancelled",
        "cancelled",
        "queued",
        "succeeded",
    ]
    why = f"its input, run {str(needed.id)[:8]} (attribution), failed: layer 3 does not close"
    assert lines[0].reason == why
    assert lines[1].reason == f"its input, run {str(run.id)[:8]} (sweep), was cancelled: {why}"
    with transaction(sessions) as session:
        ended = session.scalars(select(PartRow.state).where(PartRow.run_id == after.id)).all()
        said = session.scalars(select(RunEventRow.reason).where(RunEventRow.run_id == run.id))
        assert ended == [PartState.CANCELLED] * 2
        assert why in said.all()


@pytest.mark.parametrize("how", ["queued", "running", "reaped", "released"])
def test_a_cancelled_input_takes_its_dependants_along_when_it_ends(
    sessions: Sessions, make_run: MakeRun, how: str
) -> None:
    needed = make_run()
    run = make_run(inputs={"bases": needed.id})
    claimed = None if how == "queued" else claim(sessions, needed.id)
    with transaction(sessions) as session:
        runs.cancel(session, needed.id)
    if claimed is not None:
        assert state_of(sessions, run.id) is RunState.QUEUED  # the input still runs
        if how == "reaped":
            expire(sessions, claimed)
        with transaction(sessions) as session:
            if how == "running":
                endings.cancelled(session, claimed)
            elif how == "reaped":
                endings.reap(session, needed.id)
            else:
                endings.release(session, claimed, reason="stopped")
    line = line_of(sessions, run.id)
    assert line.state is RunState.CANCELLED
    assert (line.reason or "").endswith("was cancelled: cancelled by a person")


@pytest.mark.parametrize("how", ["reap", "retry"])
def test_an_input_that_is_out_of_tries_takes_its_dependants_along(
    sessions: Sessions, make_run: MakeRun, how: str
) -> None:
    needed = make_run()
    run = make_run(inputs={"bases": needed.id})
    for _ in range(3):
        assert state_of(sessions, run.id) is RunState.QUEUED
        claimed = claim(sessions, needed.id, "gpu0")
        if how == "reap":
            expire(sessions, claimed)
        with transaction(sessions) as session:
            if how == "reap":
                endings.reap(session, needed.id)
            else:
                endings.retry(session, claimed, reason="oom: too big")
    line = line_of(sessions, run.id)
    assert line.state is RunState.CANCELLED
    says = {"reap": "lost: no heartbeat of gpu0", "retry": "oom: too big; attempt 3 of 3"}
    assert says[how] in (line.reason or "")


def test_runs_are_cancelled_together_whichever_needs_which(
    sessions: Sessions, make_run: MakeRun
) -> None:
    needed = make_run()
    run = make_run(inputs={"bases": needed.id})
    for_both = make_run(inputs={"bases": needed.id, "sweep": run.id})
    with transaction(sessions) as session:
        ended = runs.cancel_all(session, [for_both.id, run.id, needed.id])
    assert {each.state for each in ended} == {RunState.CANCELLED}
    reasons = {each.id: each.reason for each in ended}
    assert set(reasons.values()) == {"cancelled by a person"}


def test_a_run_that_is_recorded_while_its_input_is_cancelled_never_waits_for_ever(
    sessions: Sessions, make_run: MakeRun
) -> None:
    needed = make_run(fingerprint="needed")

    def cancel() -> None:
        with transaction(sessions) as session:
            runs.cancel(session, needed.id)

    with ThreadPoolExecutor(1) as pool, transaction(sessions) as recording:
        assert runs.standing(recording, ["needed"])["needed"].id == needed.id
        cancelling = pool.submit(cancel)
        time.sleep(0.3)
        assert not cancelling.done()
        facts = {name: getattr(needed, name) for name in ("model_id", "distribution_id", "params")}
        waits = {"id": UUID(int=1), "state": "queued", "n_prompts": 8, "n_parts": 1, **facts}
        more = {"analysis": "sweep", "analysis_version": 1, "engine_version": 1, "seed": 0}
        recording.add(RunRow(**waits, **more, fingerprint="waits", priority=3, created_by="ada"))
        recording.flush()
        inputs.add(recording, UUID(int=1), {"bases": needed.id})
        recording.commit()
        cancelling.result(10)
    assert state_of(sessions, UUID(int=1)) is RunState.CANCELLED


def test_runs_are_locked_in_the_order_they_were_recorded_in_however_deep_they_wait(
    sessions: Sessions, make_run: MakeRun
) -> None:
    needed = make_run()
    child = make_run(inputs={"bases": needed.id})
    deep = make_run(inputs={"sweep": child.id})
    last = make_run(inputs={"bases": needed.id})

    def cancel() -> None:
        with transaction(sessions) as session:
            runs.cancel(session, needed.id)

    with ThreadPoolExecutor(1) as pool, transaction(sessions) as mine:
        runs.lock(mine, deep.id)
        cancelling = pool.submit(cancel)
        time.sleep(0.3)
        assert not cancelling.done()
        runs.lock(mine, last.id)  # would close a circle if `last` were held before `deep`
        mine.commit()
        cancelling.result(10)
    assert state_of(sessions, last.id) is RunState.CANCELLED


def test_whatever_ends_at_once_no_run_waits_for_one_that_ended_badly_and_nobody_deadlocks(
    sessions: Sessions, make_run: MakeRun
) -> None:
    chance = random.Random(5)
    made: list[UUID] = []
    for _ in range(60):
        needs = chance.sample(made, min(len(made), chance.randrange(5)))
        made.append(make_run(inputs={str(each): each for each in needs}).id)
    start = threading.Barrier(6)

    def end_some(seed: int) -> None:
        mine = random.Random(seed)
        start.wait()
        for run_id in mine.sample(made, 12):
            with transaction(sessions) as session:
                how = mine.randrange(3)
                if how == 0:
                    runs.cancel_all(session, mine.sample(made, 3))
                elif how == 1:
                    runs.cancel(session, run_id)
                elif claimed := parts.claim(session, run_id, worker="w", lease=60):
                    endings.fail(session, claimed, reason="by chance")

    with ThreadPoolExecutor(6) as pool:
        for each in [pool.submit(end_some, seed) for seed in range(6)]:
            each.result(60)
    needed = aliased(RunRow)
    forgotten = exists().where(
        RunInputRow.run_id == RunRow.id,
        needed.id == RunInputRow.needs_run_id,
        needed.state.in_([RunState.FAILED, RunState.CANCELLED]),
    )
    with transaction(sessions) as session:
        active = RunRow.state.in_(list(ACTIVE))
        count = select(func.count()).select_from(RunRow)
        assert session.scalars(count.where(active, forgotten.correlate(RunRow))).one() == 0
        assert session.scalars(count.where(~active)).one() > 6


def test_inputs_are_queried_in_sql(sessions: Sessions, make_run: MakeRun) -> None:
    needed = make_run()
    run = make_run(inputs={"bases": needed.id}, analysis="sweep")
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL ROLE headbook_reader"))
        found = session.execute(text("SELECT * FROM results.run_inputs")).one()
    assert tuple(found) == (run.id, "sweep", "bases", needed.id, "attribution", "queued")
