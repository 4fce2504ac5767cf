"""What runs find while nothing breaks, and what must be so when there is peace again."""

import os
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psutil
import pytest
from sqlalchemy import text

from tracker.database.db import transaction

from . import checker
from .actor import Actor
from .checker import References
from .recovery import percentiles
from .world import World

LONG = pytest.mark.skipif(
    not os.environ.get("HEADBOOK_TEST_RUNS"), reason="takes long; `make faults` runs it"
)
_UNSHOWN = "SELECT count(*) FROM headbook.publication WHERE state <> 'published'"
_HOLDERS = "SELECT worker FROM headbook.part WHERE run_id = :run AND worker IS NOT NULL"
_CRASHES = "SELECT crashes FROM headbook.run WHERE id = :run"
_FIRST = 240.0  # seconds; fresh workers load torch before they do anything
_PUBLISHED = 60.0  # seconds; a refused publication is tried again ever later
_STEP = 0.02


def references(world: World, *asked: dict[str, Any]) -> References:
    """The numbers of what will be asked for, by fingerprint; `asked` is of `World.submit`."""
    runs = [world.submit(**each) for each in asked]
    lines = world.ended([run.id for run in runs], seconds=_FIRST)
    assert {line.state.value for line in lines} == {"succeeded"}
    return {run.fingerprint: checker.numbers(world.sessions, run.id) for run in runs}


def broken(world: World, found: References) -> list[str]:
    """What does not hold once MLflow shows every run that there is."""
    end = time.monotonic() + _PUBLISHED
    while _count(world, _UNSHOWN) and time.monotonic() < end:
        time.sleep(0.1)
    return [str(each) for each in world.broken(references=found)]


def figures(of: str, seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of some seconds under names that say of what; and how many there were."""
    found = percentiles(seconds)
    count = {f"{of}_count": found.pop("n", 0)}
    return count | {f"{of}_{name}_s": round(each, 3) for name, each in found.items()}


def spelt(seconds: Sequence[float]) -> str:
    """The same for a reader of the page."""
    found = percentiles(seconds)
    p50, p95, longest = (f"{found[name]:.2f} s" for name in ("p50", "p95", "max"))
    return f"{p50} / {p95} / {longest} (median, p95, longest of {len(seconds)})"


def crashes(world: World, run_id: UUID) -> int:
    return _count(world, _CRASHES, run=run_id)


def holders(world: World, workers: Sequence[Actor], run_id: UUID) -> list[Actor]:
    """Those of the workers that hold a part of the run; their names end with pid and salt."""
    with transaction(world.sessions) as session:
        names = session.scalars(text(_HOLDERS), {"run": run_id}).all()
    pids = {name.rpartition(":")[2].partition(".")[0] for name in names}
    return [worker for worker in workers if str(worker.pid) in pids]


def gone(processes: Sequence[psutil.Process], *, since: float, within: float) -> list[float]:
    """How many seconds after `since` each of the processes had ended."""
    ended: dict[psutil.Process, float] = {}
    while len(ended) < len(processes):
        now = time.monotonic()
        assert now < since + within, f"{set(processes) - set(ended)} live after {within} s"
        ended |= {each: now - since for each in processes if each not in ended and _ended(each)}
        time.sleep(_STEP)
    return list(ended.values())


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _count(world: World, query: str, **of: Any) -> int:
    with transaction(world.sessions) as session:
        return int(session.scalars(text(query), of).one())
