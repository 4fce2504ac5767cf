"""Whatever somebody writes into the broker, no process of a worker ends, and runs go on."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from amqp.basic_message import Message
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from stored_runs import detail
from waits import when

from tracker.database.db import Sessions
from tracker.domain import wakeups
from tracker.domain.wakeups import HELP_WITH_RUN, PUBLISH_RUN, TASKS, NotAWakeup, Wakeup
from tracker.queueing import broker

from . import hostile
from .conftest import Submit
from .worker_process import working

pytestmark = pytest.mark.attack(32, "messages in the broker")

QUEUE = broker.QUEUE


@dataclass(frozen=True)
class Worker:
    """A worker process as `headbook worker` starts it, and the broker's side of it."""

    process: subprocess.Popen[bytes]
    log: Path
    client: Any  # of Valkey; it puts `headbook:` before each key
    tripwire: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def pids(self) -> set[int]:
        """Of the parent and the one child that works; others keep semaphores."""
        found = psutil.Process(self.process.pid).children()
        return {self.process.pid, *(each.pid for each in found if "spawn_main" in cmd(each))}

    def empty(self) -> bool:
        return int(self.client.llen(QUEUE)) == 0


def cmd(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


@pytest.fixture
def worker(environment: dict[str, str], broker_url: str, tmp_path: Path) -> Iterator[Worker]:
    """It ends before the database is emptied, into which it writes to its last moment."""
    log = tmp_path / "log"
    app = broker.celery_app(broker_url)
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        client = channel.client
        client.delete(QUEUE)
        with working(environment | {"HEADBOOK_LOOK_SECONDS": "1"}, log) as process:
            made = Worker(process, log, client, tmp_path / "tripwire")
            when(lambda: len(made.pids()) == 2 and "ready." in made.said)
            yield made
        assert process.returncode == 0
        client.flushdb()  # keys of the wrong kind would stop the next test's broker
    app.close()


def test_no_message_ends_a_process_and_a_run_is_done_after_all_of_them(
    worker: Worker, submit: Submit, sessions: Sessions
) -> None:
    pids = worker.pids()
    sent = hostile.not_rings(worker.tripwire) | hostile.odd_rings()
    assert len(sent) > 34
    for kind, message in sent.items():
        worker.client.lpush(QUEUE, message)
        when(worker.empty)
        assert worker.process.poll() is None, kind
        assert worker.pids() == pids, kind
    worker.client.lpush(QUEUE, *[hostile.message()] * 300)
    worker.client.publish("/0.celery.pidbox", "rubbish")
    for key in ("unacked", "unacked_index", "unacked_mutex", f"_kombu.binding.{QUEUE}"):
        worker.client.set(key, "a string")
    when(worker.empty)
    run = submit().run
    when(lambda: detail(sessions, run.id).line.published)
    assert detail(sessions, run.id).line.state == "succeeded"
    assert worker.pids() == pids
    assert not worker.tripwire.exists()
    assert "a message that is not a wake-up was dropped" in worker.said
    assert len(worker.said.splitlines()) < 60  # not a line for each


def test_a_queue_that_is_no_list_costs_rings_and_no_run(
    worker: Worker, submit: Submit, sessions: Sessions
) -> None:
    pids = worker.pids()
    worker.client.set(QUEUE, "a string")
    when(lambda: "Postgres is polled instead" in worker.said)
    run = submit().run
    when(lambda: detail(sessions, run.id).line.published)
    worker.client.delete(QUEUE)
    worker.client.lpush(QUEUE, hostile.message())
    when(worker.empty)  # it listens again
    assert worker.pids() == pids


@pytest.mark.parametrize("kind", hostile.not_rings(Path("/nowhere")))
def test_what_is_no_ring_is_told_apart_with_a_reason(kind: str, tmp_path: Path) -> None:
    with pytest.raises(NotAWakeup, match=r"^(it|its|what|the message) "):
        wakeups.in_envelope(hostile.not_rings(tmp_path / "tripwire")[kind])
    assert not (tmp_path / "tripwire").exists()


@pytest.mark.parametrize("kind", hostile.odd_rings())
def test_of_a_ring_nothing_is_kept_but_its_task_and_its_run(kind: str) -> None:
    heard = wakeups.in_envelope(hostile.odd_rings()[kind])
    assert heard == Wakeup(HELP_WITH_RUN, UUID(hostile.NOBODY))


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_no_bytes_raise_anything_else(found: bytes) -> None:
    with pytest.raises(NotAWakeup):
        wakeups.in_envelope(found)


@pytest.mark.parametrize(
    "message",
    [
        Message("ring", application_headers={"task": HELP_WITH_RUN}),
        Message(b"\xff", application_headers={"task": HELP_WITH_RUN}),
        Message('[["1"], {}, {}]', application_headers={"task": HELP_WITH_RUN}),
        Message("[]", application_headers={"task": 7}),
        Message("[]", application_headers={}),
        Message("[" * 60_000, application_headers={"task": PUBLISH_RUN}),
        Message("x" * 1_000_000, application_headers={"task": PUBLISH_RUN}),
    ],
)
def test_rabbitmqs_messages_are_judged_alike(message: Message) -> None:
    with pytest.raises(NotAWakeup):
        wakeups.of(message.headers, message.body)


@pytest.mark.parametrize("task", TASKS)
def test_what_the_dispatcher_sends_is_a_ring(task: str, broker_url: str) -> None:
    app = broker.celery_app(broker_url)
    sends = {HELP_WITH_RUN: broker.wake, PUBLISH_RUN: broker.wake_to_publish}
    run_id = UUID(hostile.NOBODY)
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        client = channel.client
        client.delete(QUEUE, f"_kombu.binding.{QUEUE}")
        sends[task](app, run_id)
        assert wakeups.in_envelope(client.rpop(QUEUE)) == Wakeup(task, run_id)
    app.close()


def test_celery_brings_no_task_of_its_own_along() -> None:
    import tracker.working.tasks  # noqa: F401

    app: Celery = broker.celery_app()
    assert set(app.tasks) == set(TASKS)
