"""Parts are claimed once, kept by heartbeats, fenced, given back and taken back."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from tracker.db import Sessions, transaction
from tracker.domain import TERMINAL, Model, PartClaim, PartKind, PartState, Priority, RunState
from tracker.store import endings, models, parts, runs
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.tables import PartRow, RunEventRow, RunRow

from .conftest import MakeRun


def claim(sessions: Sessions, run_id: UUID, worker: str = "w1", lease: float = 60) -> PartClaim:
    with transaction(sessions) as session:
        claimed = parts.claim(session, run_id, worker=worker, lease=lease)
    assert claimed is not None
    return claimed


def finish(sessions: Sessions, claimed: PartClaim) -> None:
    with transaction(sessions) as session:
        parts.fence(session, claimed, lease=60)
        endings.finish_part(session, claimed, provenance={"host": "here"})


def state_of(sessions: Sessions, run_id: UUID) -> RunState:
    with transaction(sessions) as session:
        return runs.run(session, run_id).state


def expire(sessions: Sessions, claimed: PartClaim) -> None:
    """Let a lease run out without waiting for it."""
    with transaction(sessions) as session:
        session.execute(
            update(PartRow)
            .where(parts.held(claimed))
            .values(lease_expires_at=text("clock_timestamp() - interval '1 second'"))
        )


def test_each_part_is_claimed_by_one_worker_only(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run(bounds=[(n, n + 1) for n in range(8)])

    def take(worker: int) -> list[int]:
        mine = []
        while True:
            with transaction(sessions) as session:
                claimed = parts.claim(session, run.id, worker=f"w{worker}", lease=60)
            if claimed is None:
                return mine
            mine.append(claimed.number)

    with ThreadPoolExecutor(8) as pool:
        taken = [number for mine in pool.map(take, range(8)) for number in mine]
    assert sorted(taken) == list(range(8))


def test_two_workers_that_end_the_last_two_parts_leave_the_run_finishing(
    sessions: Sessions, make_run: MakeRun
) -> None:
    for _ in range(10):
        run = make_run()
        claims = [claim(sessions, run.id, f"w{n}") for n in range(2)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda each: finish(sessions, each), claims))
        assert state_of(sessions, run.id) is RunState.FINISHING
        last = claim(sessions, run.id)
        assert (last.kind, last.number) == (PartKind.FINISH, 2)


def test_a_run_goes_from_queued_to_succeeded_and_its_events_say_so(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    assert run.state is RunState.QUEUED
    for _ in range(2):
        finish(sessions, claim(sessions, run.id))
    last = claim(sessions, run.id)
    with transaction(sessions) as session:
        parts.fence(session, last, lease=60)
        endings.finish_run(session, last, notes={})
    assert state_of(sessions, run.id) is RunState.SUCCEEDED
    with transaction(sessions) as session:
        events = session.scalars(
            select(RunEventRow.event)
            .where(RunEventRow.run_id == run.id, RunEventRow.part.is_(None))
            .order_by(RunEventRow.seq)
        ).all()
    assert events == ["queued", "running", "finishing", "succeeded"]


def test_a_claim_that_was_taken_back_can_write_no_more(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    stale = claim(sessions, run.id)
    expire(sessions, stale)
    with transaction(sessions) as session:
        assert endings.reap(session, run.id) == 1
    again = claim(sessions, run.id, "w2")
    assert again.number == stale.number
    assert again.epoch > stale.epoch
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        parts.fence(session, stale, lease=60)
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        parts.heartbeat(session, stale, lease=60)
    with transaction(sessions) as session:
        assert not endings.fail(session, stale, reason="I was wrong")
    finish(sessions, again)


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
        assert parts.waiting_runs(session, loaded_model_id=None, hint=None) == []
        assert parts.claim(session, run.id, worker="w", lease=60) is None
        assert runs.ring_due(session) == []


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


def test_urgent_runs_come_first_then_those_of_the_loaded_model_then_the_one_rung_for(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    with transaction(sessions) as session:
        facts = {name: getattr(model, name) for name in Model.__dataclass_fields__ if name != "id"}
        other = models.add_model(session, **facts | {"name": "other", "ref": "/other"})
    later = make_run(priority=Priority.LATER)
    normal, hinted = make_run(), make_run()
    loaded = make_run(model_id=other.id)
    urgent = make_run(priority=Priority.NOW)
    with transaction(sessions) as session:
        order = parts.waiting_runs(session, loaded_model_id=other.id, hint=hinted.id)
        assert order == [urgent.id, loaded.id, hinted.id, normal.id, later.id]
        avoiding = parts.waiting_runs(session, loaded_model_id=None, hint=None, avoid=[urgent.id])
        assert urgent.id not in avoiding


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
        assert parts.waiting_runs(session, loaded_model_id=None, hint=None) == []
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


def test_progress_beyond_the_slice_does_no_harm(sessions: Sessions, make_run: MakeRun) -> None:
    claimed = claim(sessions, make_run().id)
    with transaction(sessions) as session:
        parts.heartbeat(session, claimed, lease=60, done=99)
        assert session.scalars(select(PartRow.done).where(parts.held(claimed))).one() == 4


MOVES = {
    ("queued", "running"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "finishing"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("finishing", "succeeded"),
    ("finishing", "failed"),
    ("finishing", "cancelled"),
}


@pytest.mark.parametrize("to", [state.value for state in RunState])
@pytest.mark.parametrize("way", [(), ("running",), ("running", "finishing")])
def test_a_run_moves_as_the_table_of_moves_says_and_no_other_way(
    sessions: Sessions, make_run: MakeRun, way: tuple[str, ...], to: str
) -> None:
    run = make_run()

    def move(state: str) -> None:
        ended = "clock_timestamp()" if RunState(state) in TERMINAL else "NULL"
        change = f"state = '{state}', reason = 'a test', finished_at = {ended}"
        with transaction(sessions) as session:
            session.execute(text(f"UPDATE headbook.run SET {change}"))

    for state in way:
        move(state)
    origin = way[-1] if way else "queued"
    if (origin, to) in MOVES or origin == to:
        move(to)
        assert state_of(sessions, run.id) == to
    else:
        with pytest.raises(DBAPIError, match="may not move"):
            move(to)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE headbook.run SET state = 'succeeded', finished_at = now()", "HB002"),
        ("UPDATE headbook.part SET epoch = -1", "HB003"),
        ("UPDATE headbook.run SET state = 'lost'", "HB002"),
        ("UPDATE headbook.run SET finished_at = now()", "23514"),
        ("UPDATE headbook.part SET worker = 'nobody'", "23514"),
    ],
)
def test_the_database_itself_refuses_illegal_moves(
    sessions: Sessions, make_run: MakeRun, change: str, code: str
) -> None:
    make_run()
    with pytest.raises(DBAPIError) as refused, transaction(sessions) as session:
        session.execute(text(change))
    assert getattr(refused.value.orig, "sqlstate", None) == code


def test_what_has_ended_stays_as_it_is(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    with pytest.raises(DBAPIError, match="has ended"), transaction(sessions) as session:
        session.execute(update(RunRow).where(RunRow.id == run.id).values(reason="changed"))
