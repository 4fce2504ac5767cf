"""A worker's disk that is full keeps no run from ending on another."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stored_runs import detail, due_now, stored_tensors

from tracker.database.db import Sessions
from tracker.domain import RunState
from tracker.publishing.spool import Spool
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit
from .wide_tensors import MANY


@pytest.fixture
def full_disk() -> Iterator[Callable[[bool], None]]:
    """Says whether the disk is full: no file of this process grows beyond half a tensor `wide`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def say(full: bool) -> None:
        soft = 8 * MANY * 4 // 2 if full else before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield say
    say(False)


def test_a_run_whose_worker_has_a_full_disk_waits_and_says_so(
    submit: Submit,
    bench: WorkerContext,
    other: WorkerContext,
    sessions: Sessions,
    wide: None,
    full_disk: Callable[[bool], None],
) -> None:
    run = submit(analysis="wide").run
    full_disk(True)
    assert work(bench, hint=None) == 3
    full_disk(False)
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.FINISHING, 1)
    assert line.reason is not None
    assert line.reason.startswith("waiting for room on w1: A tensor file cannot be kept in")
    assert "File too large" in line.reason
    assert bench.artifacts.spool.copies() == []
    due_now(sessions, run.id)
    assert work(bench, hint=None) == 0  # another worker goes first
    assert work(other, hint=None) == 1
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    assert len(other.artifacts.spool.copies()) == 2


def test_a_full_disk_gives_up_what_mlflow_was_seen_to_hold(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    wide: None,
    small_disk: Path,
) -> None:
    bench.artifacts.spool = Spool(small_disk / "spool")
    run = submit(analysis="wide").run
    work(bench, hint=None)
    of_first = {each.sha256 for each in stored_tensors(sessions, run.id)}
    for name in of_first:
        os.utime(bench.artifacts.spool.folder / name, (0, time.time() - 3600))
    extra = bench.artifacts.spool.put(bytes(MANY))  # so that no other file of that size fits
    again = submit(analysis="wide", seed=1).run
    work(bench, hint=None)
    assert detail(sessions, again.id).line.published
    of_second = {each.sha256 for each in stored_tensors(sessions, again.id)}
    assert {copy.name for copy in bench.artifacts.spool.copies()} == {extra, *of_second}
