"""Workers are rung for what waits, no more often than they can hear, through a real broker."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import text, update

from tracker.database.db import Sessions, transaction
from tracker.queueing import broker, dispatcher
from tracker.store import parts, runs, workers
from tracker.tables import PartRow, RunRow

from .conftest import MakeRun


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    app = broker.celery_app(broker_url)
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        channel.queue_purge(broker.QUEUE)
    yield app
    app.close()


def heard(app: Celery) -> list[str]:
    """The ids in the messages that wait, which are taken."""
    found = []
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        while message := channel.basic_get(broker.QUEUE, no_ack=True):
            arguments, _, _ = message.payload
            found.append(arguments[0])
    return found


def test_a_ring_names_the_run_and_waits_for_a_worker(
    app: Celery, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    assert broker.unread(app) == 0
    assert dispatcher.wake_due(app, sessions) == 1
    assert broker.unread(app) == 1
    assert heard(app) == [str(run.id)]


def test_as_many_rings_as_workers_hang_at_a_time(
    app: Celery, sessions: Sessions, make_run: MakeRun
) -> None:
    for _ in range(5):
        make_run()
    assert dispatcher.wake_due(app, sessions) == 1  # one worker at least may come
    assert dispatcher.wake_due(app, sessions) == 0
    with transaction(sessions) as session:
        for name in ("a", "b", "c"):
            workers.seen(session, name=name, host="h", pid=1, device="cpu")
    assert dispatcher.wake_due(app, sessions) == 2
    assert len(set(heard(app))) == 3


def test_a_broker_that_lost_everything_is_rung_again(
    app: Celery, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    dispatcher.wake_due(app, sessions)
    heard(app)
    with transaction(sessions) as session:
        session.execute(update(RunRow).values(dispatch_due_at=text("clock_timestamp()")))
    assert dispatcher.wake_due(app, sessions) == 1
    assert heard(app) == [str(run.id)]


def test_a_run_waits_unharmed_while_there_is_no_broker(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    away = broker.celery_app("redis://127.0.0.1:1/0")
    assert dispatcher.wake_due(away, sessions) == 0
    with transaction(sessions) as session:
        assert runs.take_due(session) == [run.id]  # still due: nothing was taken for rung


def test_the_reaper_takes_back_what_lost_workers_held(
    sessions: Sessions, make_run: MakeRun
) -> None:
    lost, fine = make_run(), make_run()
    with transaction(sessions) as session:
        for run in (lost, fine):
            parts.claim(session, run.id, worker="w", lease=60)
        session.execute(
            update(PartRow)
            .where(PartRow.run_id == lost.id, PartRow.number == 0)
            .values(lease_expires_at=text("clock_timestamp() - interval '1 second'"))
        )
    assert dispatcher.reap(sessions) == [lost.id]
    assert dispatcher.reap(sessions) == []


def test_an_ended_run_is_rung_for_until_it_is_published(
    app: Celery, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    assert dispatcher.wake_due(app, sessions) == 1
    assert heard(app) == [str(run.id)]
