"""Some workers and a dispatcher that a module's tests share, and what they have done with runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tracker.database.db import transaction

from .actor import Actor
from .world import World

LEASE = "60"  # seconds
RUNG_ONLY = {"HEADBOOK_LOOK_SECONDS": "36000"}  # of a worker that does not look by itself
_PENDING = "SELECT count(*) FROM headbook.publication WHERE state = 'pending'"
_CLAIMS = """
SELECT run_id, part, count(*) AS claims FROM headbook.run_event
WHERE part IS NOT NULL AND event = 'running' AND run_id = ANY(:runs) GROUP BY run_id, part
"""
_STARTED = """
SELECT run_id, extract(epoch FROM min(at)) AS at FROM headbook.run_event
WHERE part IS NOT NULL AND event = 'running' AND run_id = ANY(:runs) GROUP BY run_id
"""
_CONNECTED = """
SELECT count(DISTINCT application_name) FROM pg_stat_activity
WHERE application_name LIKE :what || '-%'
"""


@dataclass(frozen=True, kw_only=True)
class Crewed:
    """A world with a dispatcher and workers that wait for runs."""

    world: World
    dispatcher: Actor
    workers: Sequence[Actor]

    def all_alive(self) -> bool:
        """Whether all are the processes that were started."""
        return all(each.alive for each in (self.dispatcher, *self.workers))


def crewed(world: World, *, workers: int, **environment: Any) -> Crewed:
    """Start them and wait until they are there; no part is taken from them however busy they are.

    Their leases are not what these tests are about. The environment is that of the workers.
    """
    made = Crewed(
        world=world,
        dispatcher=world.dispatcher(),
        workers=[world.worker(HEADBOOK_LEASE_SECONDS=LEASE, **environment) for _ in range(workers)],
    )
    until(lambda: connected(world, "worker") >= workers, world)
    return made


def until(check: Callable[[], bool], world: World, *, seconds: float = 60.0) -> float:
    """Wait until it is so; how long it took."""
    begun = time.monotonic()
    while not check():
        waited = time.monotonic() - begun
        assert waited < seconds, f"not so within {seconds} s\n{world.tails()}"
        time.sleep(0.02)
    return time.monotonic() - begun


def at_rest(world: World, run_ids: Sequence[UUID], *, seconds: float = 120.0) -> None:
    """Wait until runs have succeeded and MLflow shows all there are."""
    for line in world.ended(run_ids, seconds=seconds):
        assert line.state == "succeeded", line
    until(lambda: _count(world, _PENDING) == 0, world, seconds=seconds)


def connected(world: World, what: str) -> int:
    """How many workers ("worker") or dispatchers ("dispatch") are connected to the database."""
    with transaction(world.sessions) as session:
        return int(session.scalars(text(_CONNECTED), {"what": what}).one())


def claims(world: World, run_ids: Sequence[UUID]) -> dict[tuple[UUID, int], int]:
    """How often each part of runs was claimed."""
    with transaction(world.sessions) as session:
        rows = session.execute(text(_CLAIMS), {"runs": list(run_ids)}).all()
    return {(row.run_id, row.part): row.claims for row in rows}


def started(world: World, run_ids: Sequence[UUID]) -> dict[UUID, float]:
    """When each run was first claimed, in seconds since 1970."""
    with transaction(world.sessions) as session:
        rows = session.execute(text(_STARTED), {"runs": list(run_ids)}).all()
    return {row.run_id: float(row.at) for row in rows}


def _count(world: World, query: str) -> int:
    with transaction(world.sessions) as session:
        return int(session.scalars(text(query)).one())
