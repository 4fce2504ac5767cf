"""A run is recorded once per fingerprint, and rung for until it moves."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from tracker.database.db import Sessions, transaction
from tracker.domain import Run, RunState
from tracker.store import parts, publications, runs
from tracker.store.publications import HoldLost
from tracker.store.runs import AmbiguousRun, UnknownRun
from tracker.tables import PartRow, RunRow

from .conftest import MakeRun


def due_now(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        session.execute(update(RunRow).values(dispatch_due_at=text("clock_timestamp()")))


def test_twenty_submissions_at_once_of_one_fingerprint_make_one_run(
    sessions: Sessions, make_run: MakeRun
) -> None:
    def attempt(_: int) -> Run | None:
        try:
            return make_run(fingerprint="same")
        except AssertionError:  # insert_run gave None
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [run for run in pool.map(attempt, range(20)) if run is not None]
    assert len(made) == 1
    with transaction(sessions) as session:
        assert session.scalar(select(func.count()).select_from(PartRow)) == 2


def test_a_cancelled_fingerprint_can_be_queued_again(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run(fingerprint="same")
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    assert make_run(fingerprint="same").id != run.id


def test_a_forced_run_stands_beside_the_one_it_repeats(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(fingerprint="same")
    again = make_run(fingerprint="same", rerun_of=run.id)
    assert again.id != run.id
    with transaction(sessions) as session:
        standing = runs.standing(session, ["same", "another"])
    assert {fingerprint: each.id for fingerprint, each in standing.items()} == {"same": run.id}


def test_a_form_that_is_sent_twice_makes_one_run(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run(nonce="click")
    with pytest.raises(AssertionError):  # insert_run gave None
        make_run(nonce="click")
    with transaction(sessions) as session:
        found = runs.made_by(session, "click")
        assert runs.made_by(session, "another click") is None
    assert found is not None
    assert found.id == run.id


def test_a_queued_run_is_rung_for_again_and_again_but_ever_more_seldom(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    for seconds in (1, 2, 4, 8, 15, 15, 15):
        due_now(sessions)
        with transaction(sessions) as session:
            # However long a step takes, the next ring lies that far from the time of this one.
            before = session.execute(select(func.clock_timestamp())).scalar_one()
            assert runs.take_due(session) == [run.id]
            after = session.execute(select(func.clock_timestamp())).scalar_one()
            due = session.execute(select(RunRow.dispatch_due_at)).scalar_one()
        assert before <= due - timedelta(seconds=seconds) <= after
    with transaction(sessions) as session:
        assert runs.take_due(session) == []


def test_nobody_is_rung_for_a_run_all_of_whose_parts_are_under_way(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    for expected in ([run.id], []):
        with transaction(sessions) as session:
            assert parts.claim(session, run.id, worker="w", lease=60)
        due_now(sessions)
        with transaction(sessions) as session:
            assert runs.take_due(session) == expected


def test_two_dispatchers_never_ring_for_the_same_run_at_once(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    with transaction(sessions) as first, transaction(sessions) as second:
        assert runs.take_due(first) == [run.id]
        assert runs.take_due(second) == []


def test_a_run_is_found_by_how_its_id_begins(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    with transaction(sessions) as session:
        assert runs.find_run(session, str(run.id)[:8]).id == run.id
        for unknown in ("zzz", "", "%", "ffffffff-ffff"):
            with pytest.raises(UnknownRun, match="headbook runs list"):
                runs.find_run(session, unknown)
    for _ in range(16):
        make_run()
    with transaction(sessions) as session:
        beginnings = [str(each)[0] for each in session.scalars(select(RunRow.id))]
        shared = next(each for each in beginnings if beginnings.count(each) > 1)
        with pytest.raises(AmbiguousRun, match="Type more of the id"):
            runs.find_run(session, shared)


def test_the_end_of_a_run_is_due_for_publication(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    with transaction(sessions) as session:
        assert publications.due(session) == []
        assert runs.cancel(session, run.id).state is RunState.CANCELLED
    with transaction(sessions) as session:
        assert publications.pending(session) == [run.id]
        assert publications.due(session) == [run.id]
        assert publications.due(session) == []  # the next try is further off
        hold = publications.take(session, run.id)
        assert hold is not None
        assert publications.take(session, run.id) is None  # another worker is at it
        publications.not_published(session, run.id, hold, "no answer")
        hold = publications.take(session, run.id)
        assert hold is not None
        publications.published(session, run.id, publications.renew(session, run.id, hold))
        assert publications.pending(session) == []
        assert not publications.take(session, run.id)


def test_what_is_to_be_published_again_is_not_published_by_who_began_before(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
        hold = publications.take(session, run.id)
        assert hold is not None
        publications.reopen(session, run.id)
        for late in (publications.renew, publications.published):
            with pytest.raises(HoldLost):
                late(session, run.id, hold)
        publications.not_published(session, run.id, hold, "too late")
        assert publications.due(session) == [run.id]
        assert publications.take(session, run.id) is not None
