"""People cancel runs that wait, run, finish, hang or whose worker is dead: each ends once."""

import random
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tracker.database.db import transaction
from tracker.domain import RunState
from tracker.results import RunLine

from . import peace
from .actor import Actor
from .conftest import Record, Scale
from .peace import LONG
from .world import LEASE, TIMES, Point, World

pytestmark = LONG

GRACE = 1.0  # seconds for an analysis that was told to stop
PAUSE = 0.3  # seconds between two batches
STEADY: dict[str, Any] = {"params": {"batch_size": 1, "pause": PAUSE}}
AT_ONCE: dict[str, Any] = {"params": {"batch_size": 2, "tensor": True}}
SLOW_FINISH: Point = {
    "at": "tracker.working.finishing:with_statistics",
    "do": "fault_acts:sleep",
    "seconds": 0.7,
}
_SECONDS = """
SELECT extract(epoch FROM finished_at - cancel_requested_at) FROM headbook.run WHERE id = :run
"""
BEAT = float(TIMES["HEADBOOK_HEARTBEAT_SECONDS"])

Passes = Callable[[RunLine], bool]
WHEN: dict[str, tuple[dict[str, Any], Passes]] = {
    "queued": (AT_ONCE, lambda line: True),
    "running": (STEADY, lambda line: line.done > 0),
    "finishing": (AT_ONCE, lambda line: line.state is RunState.FINISHING or line.ended),
}


@pytest.fixture(scope="module")
def workers(world: World) -> list[Actor]:
    world.dispatcher()
    made = [world.worker(points=[SLOW_FINISH], HEADBOOK_GRACE_SECONDS=str(GRACE)) for _ in range(2)]
    peace.references(world, AT_ONCE)
    return made


def latency(world: World, run_id: UUID) -> float | None:
    """Seconds from a person's wish to the run's end; None where it had ended before."""
    with transaction(world.sessions) as session:
        seconds = session.scalars(text(_SECONDS), {"run": run_id}).one()
    return None if seconds is None else float(seconds)


def noted(record: Record, when: str, seconds: list[float], ends: list[RunLine]) -> None:
    cancelled = sum(line.state is RunState.CANCELLED for line in ends)
    record(
        26,
        f"cancelled while {when}",
        f"{cancelled} cancelled, {len(ends) - cancelled} had succeeded; each ended once, after "
        f"{peace.spelt(seconds)}",
        **peace.figures("latency", seconds),
    )


@pytest.mark.parametrize("when", WHEN)
def test_a_run_is_cancelled_or_has_succeeded_and_never_both(
    world: World, workers: list[Actor], scale: Scale, record: Record, when: str
) -> None:
    rng, (asked, passes) = random.Random(scale.seed), WHEN[when]
    ended: list[RunLine] = []
    for _ in range(25 if scale.long else 3):
        run = world.submit(**asked)
        world.when(run.id, passes)
        time.sleep(0.0 if when == "queued" else rng.uniform(0, 0.8))
        world.cancel(run.id)
        ended += world.ended([run.id])
    seconds = [each for line in ended if (each := latency(world, line.id)) is not None]
    assert {line.state.value for line in ended} <= {"cancelled", "succeeded"}
    assert {line.state.value for line in ended if not line.done} <= {"cancelled"}
    assert max(seconds) < BEAT + PAUSE + LEASE
    assert peace.broken(world, {}) == []
    noted(record, when, seconds, ended)


def test_an_analysis_that_does_not_hear_is_cancelled_with_its_process(
    world: World, workers: list[Actor], record: Record
) -> None:
    run = world.submit("stuck", params={"batch_size": 2}, prompts_per_part=8)
    world.when(run.id, lambda line: line.state is RunState.RUNNING)
    world.cancel(run.id)
    ended = world.ended([run.id])
    assert [line.state.value for line in ended] == ["cancelled"]
    seconds = latency(world, run.id)
    assert seconds is not None
    assert GRACE < seconds < GRACE + BEAT + LEASE
    assert peace.broken(world, {}) == []
    noted(record, f"it hangs, after {GRACE:g} s of grace", [seconds], ended)


def test_a_run_whose_worker_is_dead_is_cancelled_when_the_lease_is_over(
    world: World, workers: list[Actor], scale: Scale, record: Record
) -> None:
    ended: list[RunLine] = []
    for _ in range(5 if scale.long else 1):
        run = world.submit(**STEADY, prompts_per_part=8)
        world.when(run.id, lambda line: line.done > 0)
        (dead,) = peace.holders(world, world.actors, run.id)
        dead.kill()
        world.cancel(run.id)
        ended += world.ended([run.id])
        if scale.long:
            world.worker(points=[SLOW_FINISH], HEADBOOK_GRACE_SECONDS=str(GRACE))
    assert {line.state.value for line in ended} == {"cancelled"}
    seconds = [each for line in ended if (each := latency(world, line.id)) is not None]
    assert max(seconds) < 2 * LEASE
    assert peace.broken(world, {}) == []
    noted(record, "its worker is dead", seconds, ended)
