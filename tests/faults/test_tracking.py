"""MLflow is down, frozen or broken: runs end or wait for it, and no worker waits with them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from mlflow_login import mlflow_at
from sqlalchemy import text

from tracker.database.db import transaction
from tracker.publishing.publication import mlflow_client

from . import peace
from .actor import Actor
from .checker import References
from .conftest import Record, Scale
from .peace import LONG
from .proxy import SERVER_ERROR, Mode, Proxy
from .world import World

pytestmark = LONG

WITH_TENSOR: dict[str, Any] = {"params": {"batch_size": 2, "tensor": True}}
WITHOUT: dict[str, Any] = {"params": {"batch_size": 2}}
PATIENCE = "1"  # seconds that the worker's client waits for an answer
LONGEST_CALL = 60.0  # seconds; with MLflow's own settings it is 247
OTHERS = 4  # runs that need nothing of MLflow
WAYS = ("down", "frozen", "500")

# How long a worker held the last part of a run each time that it gave it back.
_HELD = """
SELECT extract(epoch FROM at - claimed_at) FROM (
  SELECT event, at, lag(at) OVER history AS claimed_at, part,
         (SELECT n_parts FROM headbook.run WHERE id = run_id) AS finishing
  FROM headbook.run_event WHERE run_id = :run AND part IS NOT NULL
  WINDOW history AS (PARTITION BY part ORDER BY seq)
) AS event WHERE part = finishing AND event = 'queued' AND claimed_at IS NOT NULL
"""
_AT_ONCE = (
    "UPDATE headbook.run SET not_before = now(), dispatch_due_at = now() WHERE finished_at IS NULL",
    "UPDATE headbook.publication SET due_at = now() WHERE state = 'pending'",
)


@pytest.fixture(scope="module")
def worker(world: World) -> Actor:
    world.dispatcher()
    return world.worker(MLFLOW_HTTP_REQUEST_TIMEOUT=PATIENCE)


@pytest.fixture(scope="module")
def found(world: World, worker: Actor) -> References:
    return peace.references(world, WITH_TENSOR, WITHOUT)


@contextmanager
def away(world: World, line: Proxy, way: str) -> Iterator[None]:
    """Inside the block MLflow is not to be had for whoever is behind the line."""
    if way == "frozen":
        world.mlflow.freeze()
    elif way == "500":
        line.answer = SERVER_ERROR
    else:
        line.set(Mode.REFUSE)
    try:
        yield
    finally:
        world.mlflow.thaw()
        line.heal()


def held(world: World, run_id: UUID) -> list[float]:
    with transaction(world.sessions) as session:
        return [float(each) for each in session.scalars(text(_HELD), {"run": run_id})]


def try_again_now(world: World) -> None:
    """What waits for MLflow need not wait any longer: it would be seconds, or minutes."""
    with transaction(world.sessions) as session:
        for statement in _AT_ONCE:
            session.execute(text(statement))


@pytest.mark.parametrize("way", ["down", "frozen", "500"])
def test_a_run_waits_for_mlflow_and_holds_no_worker(
    world: World, worker: Actor, found: References, scale: Scale, record: Record, way: str
) -> None:
    blocked: list[float] = []
    delays: list[float] = []
    for _ in range(3 if scale.long else 1):
        with away(world, worker.lines.tracking, way):
            waits = world.submit(**WITH_TENSOR)
            line = world.when(waits.id, lambda line: "waiting for MLflow" in (line.reason or ""))
            assert (line.state.value, line.attempt) == ("finishing", 1)
            blocked += held(world, waits.id)
            asked = time.monotonic()
            others = [world.submit(**WITHOUT).id for _ in range(OTHERS)]
            lines = world.ended(others)
            delays.append(time.monotonic() - asked)
            assert {(each.state.value, each.published) for each in lines} == {("succeeded", False)}
            assert not world.line(waits.id).ended
        if not scale.long:
            try_again_now(world)
        (line,) = world.ended([waits.id])
        assert (line.state.value, line.attempt) == ("succeeded", 1)
    if not scale.long:
        try_again_now(world)
    assert peace.broken(world, found) == []
    record(
        20,
        f"MLflow {'answers 500' if way == '500' else way}; {PATIENCE} s for an answer",
        f"a run with tensors waits, and holds a worker for {max(blocked):.1f} s at the most; "
        f"{OTHERS} others end within {max(delays):.1f} s; all are whole and shown afterwards",
        without_artifact=0,
        held_max_s=round(max(blocked), 2),
        **peace.figures("others_ended", delays),
    )


def test_a_run_that_waits_for_mlflow_can_be_cancelled(
    world: World, worker: Actor, found: References
) -> None:
    with away(world, worker.lines.tracking, "down"):
        run = world.submit(**WITH_TENSOR)
        world.when(run.id, lambda line: "waiting for MLflow" in (line.reason or ""))
        assert world.cancel(run.id).state == "cancelled"
    try_again_now(world)
    assert peace.broken(world, found) == []


def test_a_call_of_mlflow_gives_up_soon(world: World, scale: Scale, record: Record) -> None:
    """With the settings of the product, whose client waits 10 s for an answer, three times."""

    def call(way: str) -> float:
        line = Proxy(world.network, ("127.0.0.1", world.mlflow.port))
        if way == "500":
            line.answer = SERVER_ERROR
        else:
            line.set(Mode.REFUSE if way == "down" else Mode.BLACKHOLE)
        begun = time.monotonic()
        with pytest.raises(Exception, match=r"Max retries|timed out|500|too many"):
            mlflow_client(mlflow_at(line.port)).get_experiment_by_name("steps")
        seconds = time.monotonic() - begun
        line.close()
        return seconds

    ways = WAYS if scale.long else ("down", "500")
    with ThreadPoolExecutor(len(ways)) as together:
        seconds = dict(zip(ways, together.map(call, ways), strict=True))
    assert max(seconds.values()) < LONGEST_CALL
    record(
        20,
        "a call of MLflow",
        "gives up after " + ", ".join(f"{each:.1f} s ({way})" for way, each in seconds.items()),
        **{f"blocked_{way}_s": round(each, 1) for way, each in seconds.items()},
    )
