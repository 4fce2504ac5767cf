"""Parts are given back, taken back and ended, and their runs with them."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from tracker.database.db import Sessions, transaction
from tracker.domain import PartState, RunState
from tracker.store import endings, parts, runs
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.tables import PartRow, RunEventRow

from .conftest import MakeRun
from .part_work import claim, expire, finish, state_of


def test_a_lease_that_is_renewed_is_not_taken_back(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    claimed = claim(sessions, run.id, lease=0.001)
    with transaction(sessions) as session:
        assert parts.runs_with_lost_parts(session) == [run.id]
        parts.heartbeat(session, claimed, lease=60)
    with transaction(sessions) as session:
        assert parts.runs_with_lost_parts(session) == []
        assert endings.reap(session, run.id) == 0


def test_a_lost_worker_is_named_and_after_three_the_run_fails(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    for crash in range(1, 4):
        expire(sessions, claim(sessions, run.id, "gpu0"))
        with transaction(sessions) as session:
            assert endings.reap(session, run.id) == 1
            seen = runs.run(session, run.id)
        assert seen.crashes == crash
        assert seen.reason is not None
        assert seen.reason.startswith("lost: no heartbeat of gpu0 until")
        if crash < 3:
            assert seen.state is RunState.QUEUED
            assert f"attempt {crash + 1} of 3 is queued" in seen.reason
    assert seen.state is RunState.FAILED
    with transaction(sessions) as session:
        left = session.scalars(select(PartRow.state).where(PartRow.run_id == run.id)).all()
    assert sorted(left) == [PartState.CANCELLED, PartState.FAILED]


def test_a_retry_waits_in_the_queue_and_the_third_is_the_last(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    for _ in range(3):
        with transaction(sessions) as session:
            endings.retry(session, claim(sessions, run.id), reason="oom: too big")
    with transaction(sessions) as session:
        seen = runs.run(session, run.id)
    assert (seen.state, seen.reason) == (RunState.FAILED, "oom: too big; attempt 3 of 3")


def test_a_released_part_is_nobodys_fault(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        endings.release(session, claimed, reason="stopped")
        seen = runs.run(session, run.id)
    assert (seen.state, seen.attempt, seen.crashes) == (RunState.QUEUED, 1, 0)
    assert claim(sessions, run.id).epoch == claimed.epoch + 2


def test_a_part_that_waits_for_a_while_is_not_claimed_before(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        endings.release(session, claimed, wait=60, reason="waiting for MLflow")
    with transaction(sessions) as session:
        assert parts.waiting_runs(session, loaded=(), hint=None) == []
        assert parts.claim(session, run.id, worker="w", lease=60) is None
        assert runs.take_due(session) == []


def test_a_queued_run_is_cancelled_at_once(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    with transaction(sessions) as session:
        assert runs.cancel(session, run.id).state is RunState.CANCELLED
        assert parts.claim(session, run.id, worker="w", lease=60) is None


def test_a_running_run_is_cancelled_when_its_worker_sees_it(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        assert runs.cancel(session, run.id).state is RunState.RUNNING
    with transaction(sessions) as session:
        assert parts.heartbeat(session, claimed, lease=60) is True
    with pytest.raises(CancelSeen), transaction(sessions) as session:
        parts.fence(session, claimed, lease=60)
    with transaction(sessions) as session:
        endings.cancelled(session, claimed)
    assert state_of(sessions, run.id) is RunState.CANCELLED


def test_a_cancelled_run_whose_worker_is_lost_ends_with_the_reaper(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    expire(sessions, claimed)
    with transaction(sessions) as session:
        assert endings.reap(session, run.id) == 1
    assert state_of(sessions, run.id) is RunState.CANCELLED


def test_a_failed_part_ends_the_run_and_the_other_parts(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    first, second = claim(sessions, run.id, "w1"), claim(sessions, run.id, "w2")
    with transaction(sessions) as session:
        assert endings.fail(session, first, reason="layer 3 does not close")
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        parts.fence(session, second, lease=60)
    assert state_of(sessions, run.id) is RunState.FAILED


@pytest.mark.parametrize("how", ["release", "retry", "reap"])
def test_a_part_of_a_cancelled_run_never_goes_back_to_the_queue(
    sessions: Sessions, make_run: MakeRun, how: str
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    if how == "reap":
        expire(sessions, claimed)
    with transaction(sessions) as session:
        assert parts.waiting_runs(session, loaded=(), hint=None) == []
        if how == "release":
            endings.release(session, claimed, reason="waiting for MLflow")
        elif how == "retry":
            endings.retry(session, claimed, reason="oom: too big")
        else:
            endings.reap(session, run.id)
    assert state_of(sessions, run.id) is RunState.CANCELLED


def test_a_run_cancelled_while_it_finishes_and_released_is_cancelled(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(0, 8)])
    finish(sessions, claim(sessions, run.id))
    last = claim(sessions, run.id)
    with transaction(sessions) as session:
        assert runs.cancel(session, run.id).state is RunState.FINISHING
    with transaction(sessions) as session:
        endings.release(session, last, reason="waiting for MLflow")
    assert state_of(sessions, run.id) is RunState.CANCELLED


def test_an_outage_that_loses_all_parts_at_once_counts_as_one_crash(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(n, n + 1) for n in range(8)])
    for number in range(8):
        expire(sessions, claim(sessions, run.id, f"w{number}"))
    with transaction(sessions) as session:
        assert endings.reap(session, run.id) == 8
        seen = runs.run(session, run.id)
    assert (seen.state, seen.crashes, seen.attempt) == (RunState.QUEUED, 1, 2)


def test_workers_that_an_outage_ends_one_after_the_other_count_as_one_crash(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(n, n + 1) for n in range(4)])
    for worker in ("w1", "w2", "w3"):
        claim(sessions, run.id, worker)
    for worker in ("w1", "w2", "w3"):
        with transaction(sessions) as session:
            assert endings.lost(session, run.id, worker=worker) == 1
    with transaction(sessions) as session:
        seen = runs.run(session, run.id)
    assert (seen.state, seen.crashes, seen.attempt) == (RunState.QUEUED, 1, 2)
    claim(sessions, run.id, "w1")
    with transaction(sessions) as session:
        assert endings.lost(session, run.id, worker="w1") == 1
        assert runs.run(session, run.id).crashes == 2, "it was claimed after that outage"


def test_what_a_dead_process_held_is_taken_back_before_its_leases_run_out(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(n, n + 1) for n in range(3)])
    dead = [claim(sessions, run.id, "w1") for _ in range(2)]
    alive = claim(sessions, run.id, "w2")
    with transaction(sessions) as session:
        assert parts.runs_held_by(session, "w1") == [run.id]
        assert endings.lost(session, run.id, worker="w1") == 2
        assert endings.lost(session, run.id, worker="w1") == 0
        assert parts.runs_held_by(session, "w1") == []
        seen = runs.run(session, run.id)
    assert (seen.state, seen.crashes, seen.attempt) == (RunState.RUNNING, 1, 2)
    assert seen.reason == (
        "lost: the process of w1 ended, killed or out of memory; attempt 2 of 3 is queued"
    )
    finish(sessions, alive)
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        parts.fence(session, dead[0], lease=60)


def test_reaping_waits_for_a_heartbeat_under_way_and_then_leaves_the_part_alone(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    expire(sessions, claimed)
    with ThreadPoolExecutor(1) as pool, transaction(sessions) as beating:
        parts.heartbeat(beating, claimed, lease=60)

        def reap() -> int:
            with transaction(sessions) as session:
                return endings.reap(session, run.id)

        reaping = pool.submit(reap)
        time.sleep(0.3)
        assert not reaping.done()
        beating.commit()
        assert reaping.result(10) == 0
    with transaction(sessions) as session:
        assert runs.run(session, run.id).crashes == 0


def test_reasons_are_kept_as_events_and_are_gone_when_work_goes_on(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    with transaction(sessions) as session:
        endings.retry(session, claim(sessions, run.id), reason="oom: too big")
    claim(sessions, run.id)
    with transaction(sessions) as session:
        assert runs.run(session, run.id).reason is None
        said = session.scalars(
            select(RunEventRow.reason).where(RunEventRow.reason.is_not(None))
        ).all()
    assert said == ["oom: too big; attempt 2 of 3 is queued"]
