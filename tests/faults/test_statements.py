"""Only Postgres' clock is ever compared: no statement takes a time from the process that asks."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine, event

from tracker.database.db import transaction
from tracker.queueing import broker, dispatcher, submission
from tracker.store import parts, runs, scores, workers
from tracker.working.execution import publish_if_ended, work

from . import stories
from .conftest import Record
from .scene import Scene

# Times that Postgres has given before: the name of a hold, and when a line was said, by its clock.
GIVEN = ("held_until = %(held_until", "COPY run_log")
OF_A_CLOCK = (datetime, date, time_of_day, timedelta)
DAY = 86_400  # seconds


class Heard:
    """What was sent to Postgres: statements, and the values that went with them."""

    def __init__(self) -> None:
        self.statements: set[str] = set()
        self.values: list[tuple[str, Any]] = []

    def listen(self, _1: Any, _2: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.statements.add(statement)
        self.values += [(statement, value) for value in _flat(parameters)]

    def times(self) -> list[tuple[str, Any]]:
        """Values that a clock of this process gave, as times or as seconds since 1970."""
        times = [(said, value) for said, value in self.values if _is_time(value)]
        return [(said, value) for said, value in times if not any(it in said for it in GIVEN)]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", value) is not None
    if isinstance(value, int | float):
        return any(abs(value / unit - time.time()) < DAY for unit in (1, 1e3, 1e6, 1e9))
    return isinstance(value, OF_A_CLOCK)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Every statement of this process, and every row of a COPY."""
    heard, original = Heard(), scores.copy_rows

    def copy_rows(session: Any, table: Any, columns: Any, rows: Any) -> None:
        kept = list(rows)
        heard.listen(None, None, f"COPY {table.__tablename__}", kept)
        original(session, table, columns, kept)

    monkeypatch.setattr(scores, "copy_rows", copy_rows)
    event.listen(Engine, "before_cursor_execute", heard.listen)
    yield heard
    event.remove(Engine, "before_cursor_execute", heard.listen)


def test_a_time_among_the_values_is_heard() -> None:
    for value in (datetime.now().astimezone(), time.time(), int(time.time() * 1e3)):
        heard = Heard()
        heard.listen(None, None, "SELECT", {"rows": [(1, "a"), (2.5, value)]})
        assert heard.times() == [("SELECT", value)]
    assert not _is_time(60.0)


def test_no_statement_takes_a_time_from_who_asks(
    scene: Scene, heard: Heard, broker_url: str, record: Record
) -> None:
    """Runs are queued, rung, claimed, kept alive, lost, reaped, released, cancelled, published."""
    sessions, home = scene.sessions, scene.place.home
    app = broker.celery_app(broker_url)
    done, stopped, lost = (
        submission.submit(
            stories.request(study=name), sessions=sessions, home=home, **stories.BY
        ).run
        for name in ("done", "stopped", "lost")
    )
    with transaction(sessions) as session:
        workers.seen(session, name="second", host="here", pid=1, device="cpu")
        runs.cancel(session, stopped.id)
        parts.claim(session, lost.id, worker="lost", lease=0)
    _ring(app, scene)
    assert dispatcher.reap(sessions) == [lost.id]
    scene.second.limits = replace(scene.second.limits, heartbeat=0.001)
    work(scene.second, hint=done.id)
    publish_if_ended(scene.second, stopped.id)
    with transaction(sessions) as session:
        workers.stopped(session, name="second")
    states = scene.states()
    assert (states[done.id], states[stopped.id], states[lost.id]) == (
        *("succeeded", "cancelled", "succeeded"),
    )
    assert sum("clock_timestamp" in statement for statement in heard.statements) > 20
    assert heard.times() == []
    record(
        23,
        "a process's own clock",
        f"none of {len(heard.statements)} statements takes a time from the process",
        client_times=0,
    )


def _ring(app: Celery, scene: Scene) -> None:
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        channel.queue_purge(broker.QUEUE)
    assert dispatcher.wake_due(app, scene.sessions) > 0
    app.close()
