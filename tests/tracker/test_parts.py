"""Parts are claimed once, in order, kept by heartbeats and fenced."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from tracker.database.db import Sessions, transaction
from tracker.domain import Model, PartKind, Priority, RunState
from tracker.domain.run_notes import RunNotes
from tracker.store import endings, models, parts
from tracker.store.parts import LeaseLost
from tracker.tables import PartRow, RunEventRow

from .conftest import MakeRun
from .part_work import claim, expire, finish, state_of


def test_each_part_is_claimed_by_one_worker_only(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run(bounds=[(n, n + 1) for n in range(8)])

    def take(worker: int) -> list[int]:
        mine: list[int] = []
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
        endings.finish_run(session, last, notes=RunNotes())
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


def test_urgent_runs_come_first_then_those_of_the_loaded_model_then_the_one_rung_for(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    with transaction(sessions) as session:
        facts = {name: getattr(model, name) for name in Model.__dataclass_fields__ if name != "id"}
        other = models.add_model(
            session, **facts | {"name": "other", "ref": "/other", "fingerprint": "e" * 64}
        )
    later = make_run(priority=Priority.LATER)
    normal, hinted = make_run(), make_run()
    loaded = make_run(model_id=other.id)
    urgent = make_run(priority=Priority.NOW)
    with transaction(sessions) as session:
        order = parts.waiting_runs(session, loaded=[other.id], hint=hinted.id)
        assert order == [urgent.id, loaded.id, hinted.id, normal.id, later.id]
        avoiding = parts.waiting_runs(session, loaded=(), hint=None, avoid=[urgent.id])
        assert urgent.id not in avoiding


def test_progress_beyond_the_slice_does_no_harm(sessions: Sessions, make_run: MakeRun) -> None:
    claimed = claim(sessions, make_run().id)
    with transaction(sessions) as session:
        parts.heartbeat(session, claimed, lease=60, done=99)
        assert session.scalars(select(PartRow.done).where(parts.held(claimed))).one() == 4
