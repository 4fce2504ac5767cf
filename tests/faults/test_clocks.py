"""Clocks of workers are wrong: nothing is early or late, since only Postgres' clock is asked."""

import ast
import time
from pathlib import Path

import numpy as np

import tracker
from analyses.checkpoints import folders
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import examples
from analyses.prompts.tokenization import load_tokenizer

from . import peace
from .conftest import Record, Scale
from .peace import LONG
from .recovery import claimed_again
from .world import LEASE, TINY, Point, World

pytestmark = LONG

HOUR = 3600.0
CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
# A process's own start is told from another's by the machine's clock, on that machine alone.
OF_ONE_MACHINE = {"spool.py", "supervisor/process.py"}


def skewed(seconds: float) -> list[Point]:
    return [{"at": "time:time", "do": "fault_acts:shift", "seconds": seconds}]


def expected(world: World, *, prompts: int) -> list[float]:
    """What `steps` finds for facts: numbers that only their tokens decide."""
    from fault_analyses import numbers_of

    tokenizer = load_tokenizer(folders.read(world.folder / TINY).tokenizer)
    built = distributions.build(DistributionSpec(size=prompts))
    return [float(each) for each in numbers_of(examples(tokenizer, built.prompts, {}))]


def test_workers_and_a_dispatcher_whose_clocks_are_an_hour_off_take_nothing_back_early(
    world: World, scale: Scale, record: Record
) -> None:
    world.dispatcher(points=skewed(HOUR))
    for shift in (HOUR, -HOUR):
        world.worker(points=skewed(shift))
    count = 20 if scale.long else 2
    long_part = {"batch_size": 1, "pause": (LEASE + 1) / 4}  # four prompts outlast a lease
    begun = time.time()
    submitted = [
        world.submit(params=long_part if number % 10 == 0 else {"batch_size": 2})
        for number in range(count)
    ]
    lines = world.ended([run.id for run in submitted], seconds=300)
    assert {(line.state.value, line.attempt) for line in lines} == {("succeeded", 1)}
    assert claimed_again(world.sessions)[0] == 0
    for line in lines:
        assert line.started_at is not None
        assert abs(line.started_at.timestamp() - begun) < HOUR / 2
        (found,) = (row[-1] for row in world.numbers(line.id).values())
        wanted = np.asarray(expected(world, prompts=8), np.float32)
        np.testing.assert_array_equal(np.asarray(found, np.float32), wanted)
    assert peace.broken(world, {}) == []
    record(
        23,
        "one worker's clock an hour fast, another's slow, the dispatcher's fast",
        f"{count} of {count} runs as without; some parts outlasted the lease of {LEASE:g} s",
        early_reaps=0,
    )


def test_the_tracker_asks_no_clock_but_postgres_and_distances() -> None:
    root = Path(tracker.__file__).parent
    asked = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in CLOCKS
    }
    assert asked == OF_ONE_MACHINE
