"""Workers that were frozen go on where they stood: whatever they write then is refused."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import peace
from .actor import Actor
from .checker import References
from .conftest import Record, Scale
from .peace import LONG
from .world import LEASE, Point, World

pytestmark = LONG

ASKED: dict[str, Any] = {"params": {"batch_size": 2, "tensor": True}, "prompts_per_part": 8}
STEADY: dict[str, Any] = {"params": {"batch_size": 1, "pause": 0.2}, "prompts_per_part": 8}
IDLE = 10.0  # seconds that a transaction may stand still, in `db.LIMITS`
REFUSED = "the lease was lost; the results are dropped"

# A deadline that is an hour late: nothing but the fence stands between a zombie and the rows.
WITHOUT_DEADLINE: Point = {
    "at": "tracker.working.deadline:Deadline._left",
    "do": "fault_acts:shift",
    "seconds": 3600.0,
}
PLACES = {
    "before it commits its part": {"at": "tracker.store.parts:fence"},
    "while it finishes the run": {"at": "tracker.working.finishing:with_statistics"},
    "in its transaction": {"at": "tracker.store.scores:insert_part_scores", "when": "after"},
}


@dataclass(frozen=True, kw_only=True)
class Trap:
    """Where the first worker to come freezes, once the trap is set."""

    flag: Path

    def set(self) -> None:
        self.flag.unlink()

    def caught(self, *, seconds: float = 60) -> int:
        """The pid of the frozen process, as soon as there is one."""
        end = time.monotonic() + seconds
        while not (self.flag.exists() and (pid := self.flag.read_text())):
            assert time.monotonic() < end, f"nobody came to {self.flag.name} within {seconds} s"
            time.sleep(0.02)
        return int(pid)


@pytest.fixture(scope="module")
def traps(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trap]:
    folder = tmp_path_factory.mktemp("traps")
    made = {where: Trap(flag=folder / where.replace(" ", "-")) for where in PLACES}
    for trap in made.values():
        trap.flag.touch()  # an act whose flag is there is not done
    return made


@pytest.fixture(scope="module")
def workers(world: World, traps: dict[str, Trap]) -> list[Actor]:
    """Two that do not end themselves when their lease is over, and freeze where a trap is set."""
    points = [
        {"do": "fault_acts:freeze", "flag": str(traps[where].flag)} | place
        for where, place in PLACES.items()
    ]
    world.dispatcher()
    return [world.worker(points=[*points, WITHOUT_DEADLINE]) for _ in range(2)]


@pytest.fixture(scope="module")
def found(world: World, workers: list[Actor]) -> References:
    return peace.references(world, ASKED, STEADY)


def refused(workers: list[Actor]) -> int:
    """How many times workers were told that a part is theirs no more."""
    return sum(worker.said().count(REFUSED) for worker in workers)


def refused_more(workers: list[Actor], *, than: int, seconds: float = 30) -> int:
    end = time.monotonic() + seconds
    while (count := refused(workers)) <= than:
        assert time.monotonic() < end, "the zombie has not come to its write"
        time.sleep(0.05)
    return count - than


@pytest.mark.parametrize("where", ["before it commits its part", "while it finishes the run"])
def test_what_a_zombie_writes_is_refused(
    world: World,
    traps: dict[str, Trap],
    workers: list[Actor],
    found: References,
    scale: Scale,
    record: Record,
    where: str,
) -> None:
    times, count = 5 if scale.long else 1, 0
    for _ in range(times):
        before = refused(workers)
        traps[where].set()
        run = world.submit(**ASKED)
        pid, frozen = traps[where].caught(), time.monotonic()
        (line,) = world.ended([run.id])
        assert (line.state.value, line.attempt) == ("succeeded", 2)
        if scale.long:
            time.sleep(max(0.0, frozen + 3 * LEASE - time.monotonic()))
        os.kill(pid, signal.SIGCONT)
        count += refused_more(workers, than=before)
    assert count == times
    assert peace.broken(world, found) == []
    record(
        17,
        f"worker frozen {where} until another has done it",
        f"{count} of {count} late writes refused by the fence alone",
        stale=0,
        refused=count,
    )


@pytest.fixture
def mortal(world: World, workers: list[Actor]) -> Iterator[list[Actor]]:
    """Two more that have their deadline; those without one, and with traps, stand still."""
    for worker in workers:
        worker.freeze()
    made = [world.worker(), world.worker()]
    yield made
    for worker in made:
        worker.end()
        world.actors.remove(worker)
    for worker in workers:
        worker.thaw()


def test_a_worker_frozen_anywhere_ends_itself_or_is_refused(
    world: World, mortal: list[Actor], found: References, record: Record
) -> None:
    times, ended = 10, 0
    for number in range(times):
        run = world.submit(**STEADY)
        world.when(run.id, lambda line: line.done > 0)
        time.sleep(0.13 * number)
        for zombie in peace.holders(world, mortal, run.id):
            child = zombie.child
            zombie.freeze()
            time.sleep(3 * LEASE)
            zombie.thaw()
            time.sleep(1.0)
            ended += child is not None and not child.is_running()
        (line,) = world.ended([run.id])
        assert line.state == "succeeded"
    assert ended >= 1  # others had just done their part, or were told that it is theirs no more
    assert peace.broken(world, found) == []
    record(
        17,
        f"worker frozen anywhere for {3 * LEASE:g} s, three leases, {times} times",
        f"{ended} ended themselves when they thawed; {refused(mortal)} were refused",
        stale=0,
        refused=refused(mortal),
    )


def test_a_worker_frozen_inside_its_transaction_is_reaped_when_it_has_stood_still_too_long(
    world: World, traps: dict[str, Trap], workers: list[Actor], found: References, record: Record
) -> None:
    where, seconds, others = "in its transaction", [], []
    for _ in range(3):
        before = refused(workers)
        traps[where].set()
        run = world.submit(**ASKED)
        pid, frozen = traps[where].caught(), time.monotonic()
        other, asked = world.submit(**STEADY), time.monotonic()
        world.when(run.id, lambda line: line.attempt == 2)
        seconds.append(time.monotonic() - frozen)
        assert LEASE < seconds[-1] < IDLE + 2 * LEASE
        world.ended([other.id])
        others.append(time.monotonic() - asked)
        (line,) = world.ended([run.id])
        assert (line.state.value, line.attempt) == ("succeeded", 2)
        os.kill(pid, signal.SIGCONT)
        refused_more(workers, than=before)
    assert peace.broken(world, found) == []
    record(
        18,
        "worker frozen inside its transaction",
        f"taken back after {peace.spelt(seconds)}, when Postgres had ended the transaction, which "
        f"may stand still {IDLE:g} s",
        stale=0,
        **peace.figures("taken_back", seconds),
        other_run_max_s=round(max(others), 2),
    )
