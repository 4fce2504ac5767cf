"""Postgres crashes, freezes, loses replies or clients: nothing is lost, doubled or stale."""

import time
from typing import Any

import psutil
import pytest

from tracker.working.deadline import SHARE

from . import peace
from .actor import Actor
from .checker import References
from .conftest import Record, Scale
from .peace import LONG
from .proxy import Mode
from .recovery import claimed_again
from .world import LEASE, World

pytestmark = LONG

QUICK: dict[str, Any] = {"params": {"batch_size": 2, "tensor": True}}
STEADY: dict[str, Any] = {"params": {"batch_size": 1, "pause": 0.25}}
LASTING: dict[str, Any] = {"params": {"batch_size": 1, "pause": 0.4}, "prompts": 16}

# What a worker says in the transaction whose reply is lost.
COMMITS = {
    "of a claim": b"min(headbook.part.number)",
    "of a part": b"COPY headbook.part_score",
    "of a run": b"COPY headbook.score",
    "of a publication": b"UPDATE headbook.publication SET state=",
}


@pytest.fixture(scope="module")
def workers(world: World) -> list[Actor]:
    world.dispatcher()
    return [world.worker(), world.worker()]


@pytest.fixture(scope="module")
def found(world: World, workers: list[Actor]) -> References:
    return peace.references(world, QUICK, STEADY, LASTING)


def test_postgres_may_crash_again_and_again(
    world: World, workers: list[Actor], found: References, scale: Scale, record: Record
) -> None:
    times, every, count = (12, 5.0, 60) if scale.long else (2, 1.5, 3)
    before, _ = claimed_again(world.sessions)
    runs = [world.submit(**STEADY) for _ in range(count)]
    world.when(runs[0].id, lambda line: line.done > 0)
    for _ in range(times):
        world.postgres.crash()
        world.postgres.start()
        time.sleep(every)
    lines = world.ended([run.id for run in runs], seconds=300)
    assert {line.state.value for line in lines} == {"succeeded"}
    assert peace.broken(world, found) == []
    after, _ = claimed_again(world.sessions)
    record(
        14,
        f"Postgres stopped at once {times} times, every {every:g} s",
        f"all {count} runs of three parts succeeded; {after - before} claims were repeated",
        lost=0,
        claimed_again_per_part=round((after - before) / (3 * count), 3),
    )


def test_a_commit_whose_reply_is_lost_counts_once(
    world: World, workers: list[Actor], found: References, scale: Scale, record: Record
) -> None:
    resolved = 0
    for _ in range(10 if scale.long else 1):
        for said in COMMITS.values():
            lines = [worker.lines.database for worker in workers]
            before = sum(line.lost_commits for line in lines)
            for line in lines:
                line.reset_once()  # prepared statements are not said again
                line.lose_commits(1, after=said)
            (run,) = world.ended([world.submit(**QUICK).id])
            assert run.state == "succeeded"
            world.when(run.id, lambda line: line.published)  # the last of its commits
            lost = sum(line.lost_commits for line in lines) - before
            assert lost >= 1, said
            for line in lines:
                line.heal()
            resolved += lost
    assert peace.broken(world, found) == []
    record(
        15,
        f"the reply to COMMIT lost: {', '.join(COMMITS)}",
        f"{resolved} of {resolved} ambiguous commits resolved; no run failed",
        ambiguous=resolved,
        doubled=0,
    )


def test_a_part_or_run_whose_commit_was_not_answered_is_not_done_again(
    world: World, workers: list[Actor], found: References
) -> None:
    before, _ = claimed_again(world.sessions)
    for said in (COMMITS["of a part"], COMMITS["of a run"]):
        for worker in workers:
            worker.lines.database.lose_commits(1, after=said)
    world.ended([world.submit(**QUICK).id])
    assert claimed_again(world.sessions)[0] == before
    assert peace.broken(world, found) == []


def test_workers_end_themselves_while_postgres_is_frozen(
    world: World, workers: list[Actor], found: References, scale: Scale, record: Record
) -> None:
    seconds: list[float] = []
    frozen = 2 * LEASE if scale.long else LEASE + 0.5
    for _ in range(3 if scale.long else 1):
        run = world.submit(**LASTING)
        world.when(run.id, lambda line: line.done > 0)
        held = _children(peace.holders(world, workers, run.id))
        begun = time.monotonic()
        world.postgres.freeze()
        seconds += peace.gone(held, since=begun, within=LEASE)
        time.sleep(max(0.0, begun + frozen - time.monotonic()))
        world.postgres.thaw()
        (line,) = world.ended([run.id])
        assert line.state == "succeeded"
        assert peace.crashes(world, run.id) >= 1
    assert peace.broken(world, found) == []
    record(
        16,
        f"Postgres frozen for {frozen:g} s, leases of {LEASE:g} s",
        f"workers ended themselves after {peace.spelt(seconds)}: {SHARE * LEASE:g} s after their "
        "last heartbeat; nothing stale was written",
        stale=0,
        **peace.figures("self_fence", seconds),
    )


@pytest.mark.parametrize("mode", [Mode.BLACKHOLE, Mode.RESET])
def test_a_worker_that_is_cut_off_from_postgres_ends_itself_and_another_goes_on(
    world: World,
    workers: list[Actor],
    found: References,
    scale: Scale,
    record: Record,
    mode: Mode,
) -> None:
    detected: list[float] = []
    taken: list[float] = []
    for _ in range(3 if scale.long else 1):
        run = world.submit(**LASTING, prompts_per_part=16)
        world.when(run.id, lambda line: line.done > 0)
        (cut,) = peace.holders(world, workers, run.id)
        held, begun = _children([cut]), time.monotonic()
        with cut.lines.database.broken(mode):
            detected += peace.gone(held, since=begun, within=LEASE)
            world.when(run.id, lambda line: line.attempt == 2)
            while cut in peace.holders(world, workers, run.id):
                time.sleep(0.05)
            taken.append(time.monotonic() - begun)
            (line,) = world.ended([run.id])
            assert (line.state.value, line.attempt) == ("succeeded", 2)
    assert peace.broken(world, found) == []
    record(
        19,
        f"worker cut off from Postgres: {'half open' if mode is Mode.BLACKHOLE else 'reset'}",
        f"the worker ended itself after {peace.spelt(detected)}; another had its part after "
        f"{peace.spelt(taken)}",
        stale=0,
        **peace.figures("detection", detected),
        **peace.figures("taken_back", taken),
    )


@pytest.mark.parametrize("how", ["reset once", "half open for a second"])
def test_connections_that_break_for_less_than_a_lease_cost_nothing(
    world: World, workers: list[Actor], found: References, record: Record, how: str
) -> None:
    run = world.submit(**STEADY)
    world.when(run.id, lambda line: line.done > 0)
    before, lines = _children(workers), [worker.lines.database for worker in workers]
    for line in lines:
        line.reset_once() if how == "reset once" else line.set(Mode.BLACKHOLE)
    time.sleep(1.0)
    for line in lines:
        line.heal()
    (ended,) = world.ended([run.id])
    assert (ended.state.value, ended.attempt) == ("succeeded", 1)
    assert _children(workers) == before
    assert peace.broken(world, found) == []
    record(19, f"connections to Postgres {how}", "no part was done again", claimed_again=0)


def _children(workers: list[Actor]) -> list[psutil.Process]:
    return [child for worker in workers if (child := worker.child) is not None]
