"""A part is kept alive while it is worked on; what does not stop ends with its process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from sqlalchemy import select

from tracker.database.db import Sessions, transaction
from tracker.domain import PartClaim, PartState, RunState
from tracker.store import runs
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.tables import PartRow
from tracker.working.deadline import GONE, SHARE
from tracker.working.heartbeat import Limits, OutOfTime, Released, StopRequest, kept_alive

from .conftest import MakeRun
from .part_work import claim, expire, state_of

NEVER = StopRequest()
QUICK = Limits(lease=60, heartbeat=0.05, stall=60, part=60, grace=0.2)


def unused(verdict: Exception) -> NoReturn:
    raise AssertionError(verdict)


def work_until_told(
    sessions: Sessions, claimed: PartClaim, limits: Limits, *, stop: StopRequest = NEVER
) -> None:
    """An analysis that reports often, and would do so for ten seconds."""
    with kept_alive(
        claimed,
        since=time.monotonic(),
        sessions=sessions,
        limits=limits,
        stop=stop,
        give_up=unused,
    ) as beat:
        for _ in range(1000):
            beat(1)
            time.sleep(0.01)


def test_the_lease_of_a_part_that_is_worked_on_outlasts_its_length(
    sessions: Sessions, make_run: MakeRun
) -> None:
    limits = Limits(lease=0.6, heartbeat=0.1, part=1.5)
    claimed = claim(sessions, make_run().id, lease=0.6)
    with pytest.raises(OutOfTime, match=r"timeout: a part may take 1.5 s"):
        work_until_told(sessions, claimed, limits)
    with transaction(sessions) as session:
        row = session.get_one(PartRow, (claimed.run_id, claimed.number))
        assert row.lease_expires_at is not None
        assert row.started_at is not None
        assert (row.lease_expires_at - row.started_at).total_seconds() > 1.5


def test_a_person_who_cancels_is_heard_at_the_next_report(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    with pytest.raises(CancelSeen):
        work_until_told(sessions, claimed, QUICK)


def test_a_part_that_was_taken_back_is_heard_of(sessions: Sessions, make_run: MakeRun) -> None:
    claimed = claim(sessions, make_run().id)
    with pytest.raises(LeaseLost):
        work_until_told(sessions, claimed._replace(epoch=claimed.epoch - 1), QUICK)


def test_a_worker_that_is_told_to_stop_releases(sessions: Sessions, make_run: MakeRun) -> None:
    stop = StopRequest()
    stop.listen(signal.SIGUSR2)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    try:
        with pytest.raises(Released):
            work_until_told(sessions, claim(sessions, make_run().id), QUICK, stop=stop)
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)


# A worker's process that works on a claimed part and never reports again; what it is told is
# recorded, and the process should end itself. Arguments: the database and the claim's numbers.
DEAF = """
import sys, time
from pathlib import Path
from uuid import UUID
from tracker.database import db
from tracker.domain import PartClaim, PartKind
from tracker.working.heartbeat import Limits, StopRequest, kept_alive

url, run_id, number, epoch, limits = sys.argv[1:]
claim = PartClaim(UUID(run_id), int(number), PartKind.PROMPTS, int(epoch), 0, 4)
with kept_alive(claim, since=time.monotonic(), sessions=db.connect(url), limits=eval(limits),
                stop=StopRequest(), give_up=lambda verdict: print(repr(verdict), flush=True)):
    print("working", flush=True)
    time.sleep(60)
print("the end")
"""


class Deaf:
    def __init__(self, url: str, claimed: PartClaim, limits: Limits) -> None:
        words = (url, str(claimed.run_id), str(claimed.number), str(claimed.epoch), repr(limits))
        self.process = subprocess.Popen(
            [sys.executable, "-c", DEAF, *words], stdout=subprocess.PIPE, text=True
        )

    def works(self) -> bool:
        assert self.process.stdout is not None
        return self.process.stdout.readline() == "working\n"

    def end(self) -> tuple[int, str]:
        """Exit code, and what it was told last; between them stands what the process logs."""
        said, _ = self.process.communicate(timeout=30)
        told = [line for line in said.splitlines() if line.startswith(("OutOfTime", "CancelSeen"))]
        return self.process.returncode, told[-1] if told else ""


Started = Callable[[PartClaim, Limits], Deaf]


@pytest.fixture
def deaf(database_url: str) -> Iterator[Started]:
    started: list[Deaf] = []

    def start(claimed: PartClaim, limits: Limits) -> Deaf:
        started.append(Deaf(database_url, claimed, limits))
        assert started[-1].works()
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_an_analysis_that_stands_still_is_told_and_then_ended_with_its_process(
    sessions: Sessions, make_run: MakeRun, deaf: Started
) -> None:
    limits = Limits(lease=60, heartbeat=0.1, stall=0.5, grace=0.3)
    code, told = deaf(claim(sessions, make_run().id), limits).end()
    assert (code, told) == (GONE, "OutOfTime('stalled: no progress for 0.5 s')")


def test_an_analysis_that_does_not_hear_that_it_is_cancelled_is_ended(
    sessions: Sessions, make_run: MakeRun, deaf: Started
) -> None:
    run = make_run()
    working = deaf(claim(sessions, run.id), QUICK)
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    code, told = working.end()
    assert code == GONE
    assert told.startswith("CancelSeen(")


def test_a_worker_that_cannot_renew_its_lease_ends_before_the_lease_does(
    sessions: Sessions, make_run: MakeRun, deaf: Started
) -> None:
    run = make_run()
    working = deaf(claim(sessions, run.id), Limits(lease=3, heartbeat=0.2, grace=60))
    begun = time.monotonic()
    with transaction(sessions) as session:
        session.execute(select(PartRow).where(PartRow.run_id == run.id).with_for_update())
        code, _ = working.end()
        took = time.monotonic() - begun
    assert code == GONE
    assert took < SHARE * 3 + 1
    assert state_of(sessions, run.id) is RunState.RUNNING  # it could tell nobody


def test_a_process_that_was_frozen_longer_than_its_lease_ends_when_it_thaws(
    sessions: Sessions, make_run: MakeRun, deaf: Started
) -> None:
    claimed = claim(sessions, make_run().id)
    working = deaf(claimed, Limits(lease=3, heartbeat=0.2, grace=60))
    working.process.send_signal(signal.SIGSTOP)
    time.sleep(3.2)
    expire(sessions, claimed)
    working.process.send_signal(signal.SIGCONT)
    code, _ = working.end()
    assert code == GONE
    with transaction(sessions) as session:
        row = session.get_one(PartRow, (claimed.run_id, claimed.number))
        assert row.state == PartState.RUNNING
