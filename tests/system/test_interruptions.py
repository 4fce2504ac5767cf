"""A run outlives the worker that measures it, and its numbers do not show it."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import mid_part
import psutil
import pytest
from stack import Stack
from stored_runs import detail
from tiny_llama import save_tiny_llama
from waits import when

from tests.faults.numbers import Numbers, numbers
from tracker import results
from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.results import RunLine
from tracker.tables import RunRow

pytestmark = pytest.mark.xdist_group("interruptions")  # its servers start once

PATIENCE = 120.0  # seconds


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Up, with short leases, and a model that takes longer for all the facts than a command."""
    folder = tmp_path_factory.mktemp("interruptions")
    stack = Stack(
        folder / "home",
        HEADBOOK_LEASE_SECONDS="4",
        HEADBOOK_HEARTBEAT_SECONDS="1",
        HEADBOOK_REAP_SECONDS="1",
    )
    save_tiny_llama(folder / "tiny", seed=0, layers=6)
    stack.headbook("up", "--detach")
    try:
        stack.headbook("models", "add", str(folder / "tiny"))
        yield stack
    finally:
        stack.remove()


@pytest.fixture
def sessions(stack: Stack) -> Iterator[Sessions]:
    """The stack's database, whichever server process serves it now."""
    sessions = db.connect(stack.state.database_url)
    yield sessions
    db.close(sessions)


def queue(stack: Stack, *more: str) -> UUID:
    words = ("submit", "attribution", "--model", "tiny", "--distribution", "facts")
    queued = stack.json(*words, "--prompts", "520", "-p", "batch_size=1", "--force", *more)
    return UUID(queued["run"]["id"])


def line_when(sessions: Sessions, run_id: UUID, passes: Callable[[RunLine], bool]) -> RunLine:
    """The run as soon as it is so."""

    def line() -> RunLine | None:
        now = detail(sessions, run_id).line
        return now if passes(now) else None

    found = when(line, seconds=PATIENCE)
    assert found is not None
    return found


def under_way(line: RunLine) -> bool:
    return line.state is RunState.RUNNING and line.done > 0


def ended(line: RunLine) -> bool:
    return line.ended


def crashes(sessions: Sessions, run_id: UUID) -> int:
    with transaction(sessions) as session:
        return session.get_one(RunRow, run_id).crashes


def only_worker(stack: Stack) -> psutil.Process:
    (worker,) = [
        each for each in stack.json("status")["stack"]["components"] if "worker" in each["name"]
    ]
    return psutil.Process(worker["pid"])


def only_child(worker: psutil.Process) -> psutil.Process:
    """The process that measures."""
    (child,) = [each for each in worker.children() if "spawn_main" in " ".join(each.cmdline())]
    return child


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> Numbers:
    """What the numbers are when nothing happens."""
    sessions = db.connect(stack.state.database_url)
    run_id = queue(stack, "--wait")
    found = numbers(sessions, run_id)
    db.close(sessions)
    assert len(found.scores) > 8
    return found


def test_a_worker_that_is_killed_costs_one_part_and_no_number(
    stack: Stack, sessions: Sessions, undisturbed: Numbers
) -> None:
    worker = only_worker(stack)
    child = only_child(worker)
    run_id = queue(stack)
    line_when(sessions, run_id, under_way)
    mid_part.kill(sessions, run_id, worker.pid, child)
    line = line_when(sessions, run_id, ended)
    assert line.state is RunState.SUCCEEDED
    assert (crashes(sessions, run_id), line.attempt) == (1, 2)
    events = detail(sessions, run_id).events
    assert any(each.event == "queued" and each.part is not None for each in events)
    assert numbers(sessions, run_id) == undisturbed


def test_a_stack_that_is_stopped_gives_its_part_back_and_goes_on_after_the_next_start(
    stack: Stack, sessions: Sessions, undisturbed: Numbers
) -> None:
    run_id = queue(stack)
    line_when(sessions, run_id, under_way)
    stack.headbook("down")
    stopped = datetime.now(UTC)
    stack.headbook("up", "--detach")
    after = db.connect(stack.state.database_url)
    line = line_when(after, run_id, ended)
    assert line.state is RunState.SUCCEEDED
    assert line.finished_at is not None
    assert line.finished_at > stopped
    assert (crashes(after, run_id), line.attempt) == (0, 1)  # nobody's fault
    assert numbers(after, run_id) == undisturbed
    db.close(after)


def test_a_run_that_is_cancelled_under_way_stops_and_stores_no_score(
    stack: Stack, sessions: Sessions
) -> None:
    run_id = queue(stack)
    line_when(sessions, run_id, under_way)
    assert "asked to stop" in stack.headbook("runs", "cancel", str(run_id))
    line = line_when(sessions, run_id, ended)
    assert line.state is RunState.CANCELLED
    assert line.done < 520
    assert numbers(sessions, run_id) == Numbers(scores={}, tensors={})
    line_when(sessions, run_id, lambda line: line.published)


def test_submit_and_wait_fails_when_the_run_is_cancelled(stack: Stack, sessions: Sessions) -> None:
    with transaction(sessions) as session:
        before = {line.id for line in results.runs(session)}
    words = ("submit", "attribution", "--model", "tiny", "--distribution", "facts", "--wait")
    said: list[str] = []
    waiting = threading.Thread(
        target=lambda: said.append(
            stack.refusal(*words, "--prompts", "520", "-p", "batch_size=1", "--seed", "7")
        )
    )
    waiting.start()

    def new() -> set[UUID]:
        with transaction(sessions) as session:
            return {line.id for line in results.runs(session)} - before

    (run_id,) = when(new, seconds=PATIENCE)
    stack.headbook("runs", "cancel", str(run_id))
    waiting.join(PATIENCE)
    assert f"run {run_id} is cancelled: cancelled by a person" in said[0]
