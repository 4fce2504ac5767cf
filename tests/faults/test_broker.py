"""Whatever the broker loses, repeats, refuses or withholds, every run ends, and is done once.

The crew's workers look at Postgres only when they are rung, so that it shows what rings are worth;
in the last test a worker looks by itself, as workers do.
"""

import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from .conftest import Record, Scale
from .crewed import LEASE, RUNG_ONLY, Crewed, at_rest, claims, connected, crewed, started, until
from .peace import LONG
from .proxy import Mode
from .recovery import percentiles
from .world import World

pytestmark = LONG

RINGS = "headbook:headbook"  # the list that rings hang in
ANSWER = 1.0  # seconds in which a form must answer
SMALL = {"prompts": 4, "prompts_per_part": 4}


@pytest.fixture(scope="module")
def crew(world: World) -> Crewed:
    return crewed(world, workers=2, **RUNG_ONLY)


def hanging(world: World) -> int:
    with world.valkey.client() as client:
        return int(client.llen(RINGS))


def flush(world: World) -> None:
    with world.valkey.client() as client:
        client.flushall()


def killed_and_empty(world: World) -> None:
    world.valkey.lose_everything()
    until(world.valkey.embedded.ready, world)


def submitted(world: World, count: int, **asked: object) -> tuple[list[UUID], list[float]]:
    """Runs, and how many seconds each took to be queued."""
    ids, seconds = [], []
    for _ in range(count):
        begun = time.monotonic()
        ids.append(world.submit(**SMALL | asked).id)  # type: ignore[arg-type]
        seconds.append(time.monotonic() - begun)
    return ids, seconds


def rung_again(crew: Crewed, lose: Callable[[World], None]) -> list[float]:
    """Lose rings that no worker has heard; seconds from then to the start of each run."""
    world = crew.world
    for worker in crew.workers:
        worker.lines.broker.set(Mode.REFUSE)
    ids, _ = submitted(world, 4)
    until(lambda: hanging(world) > 0, world)
    lose(world)
    lost_at = time.time()
    for worker in crew.workers:
        worker.lines.broker.heal()
    at_rest(world, ids)
    return [at - lost_at for at in started(world, ids).values()]


def under_load(crew: Crewed, lose: Callable[[World], None], *, runs: int, every: int) -> list[UUID]:
    """Queue runs while the broker loses what it has, again and again; all of them succeed."""
    ids: list[UUID] = []
    for number in range(runs):
        ids += submitted(crew.world, 1, params={"batch_size": 2, "pause": 0.1})[0]
        if number % every == every - 1:
            lose(crew.world)
        time.sleep(0.05)
    at_rest(crew.world, ids)
    return ids


@pytest.mark.parametrize(
    ("row", "fault", "lose", "every"),
    [
        (6, "broker killed and started empty, under load", killed_and_empty, 5),
        (7, "FLUSHALL under load", flush, 2),
    ],
    ids=["killed", "flushed"],
)
def test_a_broker_that_forgets_everything_delays_runs_and_loses_none(
    crew: Crewed,
    record: Record,
    scale: Scale,
    row: int,
    fault: str,
    lose: Callable[[World], None],
    every: int,
) -> None:
    delays = [each for _ in range(10 if scale.long else 1) for each in rung_again(crew, lose)]
    count = 100 if scale.long else 10
    ids = under_load(crew, lose, runs=count, every=every)
    assert crew.all_alive()
    assert max(claims(crew.world, ids).values()) == 1
    assert crew.world.broken() == []
    found = percentiles(delays)
    record(
        row,
        fault,
        f"all {count + len(delays)} runs ended; a run whose ring was lost starts after "
        f"{found['p50']:.1f} s (p95 {found['p95']:.1f} s)",
        runs=count + len(delays),
        lost=0,
        losses=count // every + len(delays) // 4,
        delay_p50_s=found["p50"],
        delay_p95_s=found["p95"],
        delay_max_s=found["max"],
    )


def test_without_a_broker_runs_are_queued_at_once_and_done_later(
    crew: Crewed, record: Record, scale: Scale
) -> None:
    world, count = crew.world, 100 if scale.long else 15
    world.valkey.kill()
    ids, seconds = submitted(world, count)
    states = {world.line(each).state.value for each in ids}
    world.valkey.start()
    back = time.time()
    at_rest(world, ids, seconds=300)
    assert states == {"queued"}
    assert max(seconds) < ANSWER
    assert crew.all_alive()
    assert world.broken() == []
    found, first = percentiles(seconds), min(started(world, ids).values()) - back
    record(
        8,
        "broker down while runs are queued",
        f"{count} runs queued in {1000 * found['p95']:.0f} ms each (p95), all of them done later",
        runs=count,
        lost=0,
        submit_p50_ms=1000 * found["p50"],
        submit_p95_ms=1000 * found["p95"],
        submit_max_ms=1000 * found["max"],
        first_start_s=first,
    )


def test_a_frozen_broker_is_waited_out_without_a_restart(
    crew: Crewed, record: Record, scale: Scale
) -> None:
    world, frozen, stalls, answers = crew.world, 60.0 if scale.long else 7.0, [], []
    for _ in range(3 if scale.long else 1):
        world.valkey.freeze()
        try:
            (run_id,), seconds = submitted(world, 1)
            time.sleep(frozen)
        finally:
            world.valkey.thaw()
        thawed = time.time()
        at_rest(world, [run_id])
        answers += seconds
        stalls.append(started(world, [run_id])[run_id] - thawed)
    assert max(answers) < ANSWER
    assert crew.all_alive()
    assert world.broken() == []
    record(
        9,
        f"broker frozen for {frozen:.0f} s",
        f"nobody is restarted; a run starts {max(stalls):.1f} s after the thaw at the latest",
        runs=len(stalls),
        lost=0,
        stall_max_s=max(stalls),
        submit_max_ms=1000 * max(answers),
    )


def test_a_full_broker_takes_no_rings_and_loses_no_run(
    crew: Crewed, record: Record, scale: Scale
) -> None:
    world, count = crew.world, 50 if scale.long else 5
    with world.valkey.client() as client:
        client.config_set("maxmemory", 1)
        try:
            ids, _ = submitted(world, count)
            for worker in crew.workers:
                worker.lines.broker.reset_once()
            until(lambda: "accepts no wake-ups" in crew.dispatcher.said(), world)
            time.sleep(1)
            assert crew.all_alive()
            assert not started(world, ids)
        finally:
            client.config_set("maxmemory", 0)
    room = time.time()
    at_rest(world, ids)
    assert world.broken() == []
    stall = min(started(world, ids).values()) - room
    record(
        10,
        "broker full",
        f"{count} runs wait unharmed; the first starts {stall:.1f} s after there is room",
        runs=count,
        lost=0,
        stall_s=stall,
    )


def test_a_run_that_is_rung_for_five_times_is_done_once(
    world: World, crew: Crewed, record: Record, scale: Scale
) -> None:
    more = [world.worker(HEADBOOK_LEASE_SECONDS=LEASE) for _ in range(2 if scale.long else 0)]
    ids, _ = submitted(world, 20 if scale.long else 4, prompts_per_part=2)
    for run_id in ids:
        world.ring(run_id, 5)
    at_rest(world, ids)
    times = claims(world, ids)
    for worker in more:
        worker.end()
        world.actors.remove(worker)
    assert set(times.values()) == {1}
    assert len(times) == 3 * len(ids)
    assert world.broken() == []
    record(
        11,
        "each run is rung for five times more",
        f"{len(times)} parts of {len(ids)} runs, each claimed once",
        runs=len(ids),
        claims_per_part=max(times.values()),
    )


def killed_by_its_ring(crew: Crewed, flag: Path) -> tuple[UUID, bool, float]:
    """A run whose only ring dies with the worker that takes it; whether it was lost, and seconds.

    Lost: for two seconds, without the dispatcher, nothing leads to it. The seconds are those until
    it starts with the dispatcher.
    """
    world = crew.world
    time.sleep(2)  # nobody is to hear, after the thaw, of what was before
    for other in (crew.dispatcher, *crew.workers):
        other.freeze()
    flush(world)
    point = {"at": "tracker.domain.wakeups:in_envelope", "do": "fault_acts:kill"}
    doomed = world.worker(points=[point | {"flag": str(flag)}], **RUNG_ONLY)
    until(lambda: connected(world, "worker") > len(crew.workers), world)
    (run_id,), _ = submitted(world, 1)
    world.ring(run_id)
    until(lambda: not doomed.alive, world)
    kept = hanging(world)
    for worker in crew.workers:
        worker.thaw()
    time.sleep(2)
    lost = kept == 0 and not started(world, [run_id])
    crew.dispatcher.thaw()
    rung = time.time()
    at_rest(world, [run_id])
    return run_id, lost, started(world, [run_id])[run_id] - rung


def test_a_worker_killed_as_it_takes_a_ring_costs_a_delay_only(
    crew: Crewed, record: Record, tmp_path: Path, scale: Scale
) -> None:
    times = 5 if scale.long else 1
    found = [killed_by_its_ring(crew, tmp_path / str(number)) for number in range(times)]
    delay = max(seconds for _, _, seconds in found)
    assert all(lost for _, lost, _ in found)
    assert set(claims(crew.world, [run_id for run_id, _, _ in found]).values()) == {1}
    assert crew.world.broken() == []
    record(
        13,
        "worker killed between taking a ring and heeding it",
        f"the broker lost {times} of {times} rings, and their runs waited for the dispatcher, "
        f"with which they started within {delay:.1f} s",
        runs=times,
        lost=0,
        lost_without_dispatcher=sum(lost for _, lost, _ in found),
        delay_max_s=delay,
    )


def test_workers_that_look_by_themselves_need_no_broker(
    world: World, crew: Crewed, record: Record, scale: Scale
) -> None:
    count = 20 if scale.long else 4
    world.valkey.kill()
    alone = world.worker(HEADBOOK_LEASE_SECONDS=LEASE)
    until(lambda: connected(world, "worker") > len(crew.workers), world)
    queued = time.time()
    ids, _ = submitted(world, count)
    at_rest(world, ids)
    first = min(started(world, ids).values()) - queued
    world.valkey.start()
    assert alone.alive
    assert crew.all_alive()
    assert set(claims(world, ids).values()) == {1}
    assert world.broken() == []
    alone.end()
    world.actors.remove(alone)
    record(
        8,
        "broker down for good",
        f"all {count} runs were done without a ring; the first started after {first:.1f} s",
        runs=count,
        lost=0,
        first_start_s=first,
    )
