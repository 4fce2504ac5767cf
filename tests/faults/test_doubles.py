"""Whoever clicks, rings or reaps twice, at once: it is done once."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tracker.database.db import transaction
from tracker.store import parts, workers

from .conftest import Record, Scale
from .crewed import at_rest, connected, until
from .peace import LONG
from .test_broker import hanging
from .world import World

pytestmark = LONG

CLICKS = 20
# Two that are as eager as they can be: both see each lost part, and each due run, at once.
EAGER: dict[str, Any] = {
    "HEADBOOK_HEARTBEAT_SECONDS": "0.1",
    "HEADBOOK_REAP_SECONDS": "0.01",
    "HEADBOOK_DISPATCH_SECONDS": "0.01",
}
LOST_AT_ONCE = """
UPDATE headbook.part SET lease_expires_at = clock_timestamp() + interval '1 second'
WHERE worker = 'gone'
"""
HELD = "SELECT count(*) FROM headbook.part WHERE worker = 'gone'"
# Runs of which some part was given back another number of times than once, or that were blamed so.
REAPED_TWICE = """
SELECT count(*) FROM headbook.run WHERE id = ANY(:runs) AND (
  crashes <> 1 OR attempt <> 2 OR EXISTS (
    SELECT FROM headbook.part LEFT JOIN headbook.run_event
      ON run_event.run_id = part.run_id AND run_event.part = number AND event = 'queued'
    WHERE part.run_id = run.id GROUP BY number HAVING count(event) <> 1))
"""
# Rings come at 0, 1, 3, 7 … seconds after a run went back to the queue.
RUNG_TOO_OFTEN = """
SELECT count(*) FROM headbook.run WHERE id = ANY(:runs)
  AND power(2, dispatch_count - 1) - 1 > extract(epoch FROM clock_timestamp() - (
    SELECT min(at) FROM headbook.run_event WHERE run_id = run.id AND event = 'queued' AND part = 0))
"""
RINGS = "SELECT sum(dispatch_count) FROM headbook.run WHERE id = ANY(:runs)"
MADE = "SELECT count(*) FROM headbook.run"


def count(world: World, query: str, runs: Sequence[UUID] = ()) -> int:
    with transaction(world.sessions) as session:
        return int(session.scalars(text(query), {"runs": list(runs)}).one())


def click_at_once(world: World, **asked: Any) -> set[UUID]:
    """The runs that many clicks at the same time are answered with."""
    with ThreadPoolExecutor(CLICKS) as people:
        answers = [people.submit(world.submit, **asked) for _ in range(CLICKS)]
        return {each.result().id for each in answers}


@pytest.mark.parametrize("same", ["nonce", "fingerprint"])
def test_twenty_clicks_at_once_make_one_run(
    world: World, record: Record, scale: Scale, same: str
) -> None:
    before, times = count(world, MADE), 50 if scale.long else 3
    seed = 100 if same == "nonce" else 200
    for number in range(times):
        nonce = uuid4().hex if same == "nonce" else None
        found = click_at_once(world, force=same == "nonce", nonce=nonce, seed=seed + number)
        assert len(found) == 1
    made = count(world, MADE) - before
    assert made == times
    assert world.broken(live_is_lost=False, unpublished_is_lost=False) == []
    record(
        27,
        f"{CLICKS} clicks at once, of the same {same}",
        f"{times * CLICKS} clicks on {times} forms made {made} runs",
        clicks=times * CLICKS,
        runs=made,
        rows_per_form=made / times,
    )


def abandoned(world: World, runs: int) -> list[UUID]:
    """Runs whose two parts are claimed by a worker that is never heard of again."""
    ids = [world.submit(prompts=4).id for _ in range(runs)]
    with transaction(world.sessions) as session:
        for run_id in [each for each in ids for _ in range(2)]:
            assert parts.claim(session, run_id, worker="gone", lease=600) is not None
    return ids


def seats(world: World, number: int) -> None:
    """As if so many workers lived: a dispatcher lets as many rings hang as there are workers."""
    with transaction(world.sessions) as session:
        for each in range(number):
            workers.seen(session, name=f"seat {each}", host="", pid=0, device="cpu")


def test_two_dispatchers_give_a_lost_part_back_once_and_ring_once_for_it(
    world: World, record: Record, scale: Scale
) -> None:
    world.clear()
    runs = 100 if scale.long else 8
    seats(world, 100 * runs)
    ids = abandoned(world, runs)
    both = [world.dispatcher(**EAGER) for _ in range(2)]
    until(lambda: connected(world, "dispatch") == 2, world)
    time.sleep(0.5)  # the grace that workers are given when a dispatcher starts
    with transaction(world.sessions) as session:
        session.execute(text(LOST_AT_ONCE))
    until(lambda: count(world, HELD) == 0, world)
    until(lambda: hanging(world) >= runs, world)
    rings = hanging(world)  # read first: the count of those that went out only grows
    assert rings <= count(world, RINGS, ids)
    too_often = count(world, RUNG_TOO_OFTEN, ids)
    twice = count(world, REAPED_TWICE, ids)
    said = [each.said().count("parts taken back") for each in both]
    both[1].end()
    world.worker()
    at_rest(world, ids, seconds=300)
    assert (twice, too_often) == (0, 0)
    assert sum(said) == runs
    assert world.broken() == []
    record(
        28,
        "two dispatchers and reapers at once",
        f"{2 * runs} parts lost at the same moment were given back once each, {said[0]} runs by "
        f"the one and {said[1]} by the other",
        parts=2 * runs,
        given_back_twice=twice,
        rung_too_often=too_often,
    )
