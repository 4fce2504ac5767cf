"""Without faults, a world of two workers behind proxies does what it is asked."""

from pathlib import Path

import pytest

from .actor import Actor
from .peace import LONG
from .world import World

pytestmark = LONG


@pytest.fixture(scope="module")
def workers(world: World) -> list[Actor]:
    world.dispatcher()
    return [world.worker(), world.worker()]


def test_runs_end_on_two_workers_and_the_same_request_gives_the_same_numbers(
    world: World, workers: list[Actor]
) -> None:
    runs = [
        world.submit(params={"batch_size": 2, "tensor": seed == 0}, seed=seed % 2)
        for seed in range(4)
    ]
    lines = world.ended([run.id for run in runs])
    assert {line.state.value for line in lines} == {"succeeded"}
    numbers = [world.numbers(run.id) for run in runs]
    assert numbers[0] == numbers[2]
    assert numbers[1] == numbers[3]
    assert numbers[0] != numbers[1]
    assert len(next(iter(numbers[0].values()))[-1]) == 8


def test_a_fault_point_acts_once_in_all_processes_that_share_its_flag(
    world: World, tmp_path: Path
) -> None:
    world.end_actors()
    world.dispatcher()
    flag = tmp_path / "acted"
    killed = {"at": "tracker.store.scores:insert_part_scores", "do": "fault_acts:kill"}
    world.worker(points=[killed | {"when": "after", "flag": str(flag)}])
    (line,) = world.ended([world.submit().id])
    assert flag.read_text().isdigit()
    assert (line.state.value, line.attempt) == ("succeeded", 2)
