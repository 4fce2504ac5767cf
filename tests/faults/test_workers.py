"""Workers that are killed, run out of memory, stand still, or are told to stop."""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from tracker.database.db import transaction
from tracker.domain import RunState
from tracker.tables import PartRow, RunEventRow, RunRow

from . import peace
from .actor import Actor
from .conftest import Record, Scale
from .peace import LONG
from .recovery import percentiles
from .world import LEASE, World

pytestmark = LONG
SLOW: dict[str, Any] = {"batch_size": 1, "pause": 0.25}  # a part of four prompts takes a second


class Pair:
    """A dispatcher and a worker; whoever is killed is followed by a fresh one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dispatcher = world.dispatcher()
        self.worker = world.worker()
        (line,) = world.ended([world.submit().id])  # its child has loaded torch and the model
        assert line.state is RunState.SUCCEEDED

    def fresh(self) -> Actor:
        self.worker.end()
        self.worker = self.world.worker()
        return self.worker


@pytest.fixture(scope="module")
def pair(world: World) -> Iterator[Pair]:
    world.clear()
    yield Pair(world)
    world.end_actors()


def counts(world: World, run_id: UUID) -> tuple[int, int]:
    """Crashes, and claims of parts beyond the first of each."""
    with transaction(world.sessions) as session:
        run = session.get_one(RunRow, run_id)
        claims = session.scalars(
            select(RunEventRow.part).where(
                RunEventRow.run_id == run_id,
                RunEventRow.part.is_not(None),
                RunEventRow.event == "running",
            )
        ).all()
    return run.crashes, len(claims) - len(set(claims))


def settled(world: World) -> None:
    """Once MLflow shows every end, nothing is broken."""
    with transaction(world.sessions) as session:
        ended = session.scalars(select(RunRow.id)).all()
    for run_id in ended:
        world.when(run_id, lambda line: line.published)
    assert world.broken() == []


def working(world: World, run_id: UUID) -> None:
    world.when(run_id, lambda line: line.state is RunState.RUNNING and line.done > 0)


def last_claim(world: World, run_id: UUID) -> float:
    """Seconds since the run's last part was claimed."""
    with transaction(world.sessions) as session:
        (at,) = session.execute(
            select(RunEventRow.at)
            .where(RunEventRow.run_id == run_id, RunEventRow.event == "running")
            .order_by(RunEventRow.seq.desc())
            .limit(1)
        ).one()
    return float(at.timestamp())


def recovered(world: World, run_id: UUID, struck: float) -> float:
    """Seconds from the blow until a part was claimed again."""
    end = time.monotonic() + 60
    while (seconds := last_claim(world, run_id) - struck) <= 0:
        assert time.monotonic() < end, world.tails()
        time.sleep(0.05)
    return seconds


def test_a_run_out_of_memory_fails_for_that_reason_and_the_same_process_serves_the_next(
    pair: Pair, record: Record
) -> None:
    world, child = pair.world, pair.worker.child
    assert child is not None
    for way in ("raise", "cuda", "allocate"):
        greedy = world.submit("greedy", params={"way": way})
        (line,) = world.ended([greedy.id])
        assert line.state is RunState.FAILED
        assert line.reason is not None
        assert line.reason.startswith("oom: ")
        assert "Start a worker with more memory" in line.reason
        assert counts(world, greedy.id)[0] == 0
    begun = time.monotonic()
    (after,) = world.ended([world.submit().id])
    took = time.monotonic() - begun
    assert after.state is RunState.SUCCEEDED
    assert pair.worker.child == child
    record(
        3,
        "MemoryError, torch's on a GPU, and RLIMIT_AS",
        "failed with reason oom, since no worker had more; the same process did the next run in "
        f"{took:.1f} s, 0 restarts",
        restarts=0,
        next_run_s=round(took, 2),
    )
    settled(world)


@pytest.mark.parametrize("what", ["child", "whole worker"])
def test_a_killed_worker_costs_one_part_and_one_crash(
    pair: Pair, scale: Scale, record: Record, what: str
) -> None:
    world, seconds = pair.world, []
    (reference,) = world.ended([world.submit(params=SLOW).id])
    for _ in range(20 if scale.long else 1):
        run = world.submit(params=SLOW)
        working(world, run.id)
        struck = time.time()
        if what == "child":
            assert pair.worker.kill_child()
        else:
            pair.worker.kill()
            pair.fresh()
        seconds.append(recovered(world, run.id, struck))
        (line,) = world.ended([run.id])
        assert line.state is RunState.SUCCEEDED
        assert counts(world, run.id) == (1, 1)
        assert world.numbers(run.id) == world.numbers(reference.id)
    found = percentiles(seconds)
    row, after = (1, "of a child") if what == "child" else (2, "of a worker's whole group")
    record(
        row,
        f"SIGKILL {after} in compute",
        f"claimed again after {peace.spelt(seconds)}, leases of {LEASE:g} s; one part recomputed "
        "each time, one crash counted",
        recoveries=len(seconds),
        p50_s=round(found["p50"], 2),
        p95_s=round(found["p95"], 2),
        max_s=round(found["max"], 2),
    )
    settled(world)


def test_a_run_that_kills_its_workers_is_parked_and_others_are_not_starved(
    pair: Pair, record: Record
) -> None:
    world = pair.world
    begun = time.monotonic()
    poison = world.submit("poison")
    others = [world.submit(seed=seed) for seed in range(3)]
    lines = world.ended([run.id for run in others])
    waited = time.monotonic() - begun
    assert {line.state for line in lines} == {RunState.SUCCEEDED}
    (line,) = world.ended([poison.id])
    crashes, _ = counts(world, poison.id)
    assert (line.state, crashes) == (RunState.FAILED, 3)
    assert line.reason is not None
    assert "lost: " in line.reason
    record(
        4,
        "a run that always kills its worker",
        f"failed after {crashes} kills; three runs queued behind it ended {waited:.1f} s after",
        kills=crashes,
        others_s=round(waited, 1),
    )
    settled(world)


def test_a_worker_told_to_stop_gives_its_part_back_and_nobody_is_blamed(
    pair: Pair, scale: Scale, record: Record
) -> None:
    world, seconds = pair.world, []
    for _ in range(10 if scale.long else 1):
        run = world.submit(params=SLOW)
        working(world, run.id)
        begun = time.monotonic()
        pair.worker.terminate()
        end = begun + 20
        while _held(world, run.id):
            assert time.monotonic() < end, world.tails()
            time.sleep(0.02)
        seconds.append(time.monotonic() - begun)
        pair.fresh()
        (line,) = world.ended([run.id])
        assert line.state is RunState.SUCCEEDED
        assert counts(world, run.id)[0] == 0
    record(
        25,
        "SIGTERM (warm)",
        f"the part was back in the queue after {median(seconds):.2f} s, at most "
        f"{max(seconds):.2f} s ({len(seconds)} times); no crash counted",
        p50_s=round(median(seconds), 2),
        max_s=round(max(seconds), 2),
    )
    settled(world)


def _held(world: World, run_id: UUID) -> bool:
    with transaction(world.sessions) as session:
        query = select(PartRow.number).where(PartRow.run_id == run_id, PartRow.state == "running")
        return bool(session.scalars(query).all())


def test_a_process_that_holds_the_interpreter_keeps_its_part_while_the_lease_allows(
    pair: Pair, record: Record
) -> None:
    world = pair.world
    run = world.submit("hog", params={"batch_size": 2, "size": 4_000_000}, prompts=2)
    (line,) = world.ended([run.id])
    assert line.state is RunState.SUCCEEDED
    assert counts(world, run.id) == (0, 0)
    record(24, "json.dumps of 4,000,000 numbers in a part", f"not reaped at a lease of {LEASE:g} s")
    settled(world)


def test_an_analysis_that_stands_still_is_ended_and_says_so(world: World, record: Record) -> None:
    world.clear()
    world.dispatcher()
    world.worker(HEADBOOK_STALL_SECONDS="1", HEADBOOK_GRACE_SECONDS="0.5")
    (line,) = world.ended([world.submit("stuck", prompts=2).id], seconds=90)
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert line.reason.startswith("stalled: no progress for 1 s")
    record(25, "an analysis that stands still", "its process ended, the run failed as stalled")
    settled(world)
