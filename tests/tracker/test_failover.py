"""While a database may only be read, runs wait; what is left behind is given up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import failover
import numpy as np
import pytest
from celery import Celery
from sqlalchemy import text
from stored_runs import detail
from typer.testing import CliRunner
from waits import when

from analyses import registry
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, ScoreKey
from tracker import results
from tracker.cli import app, run_logs, waiting
from tracker.database import db, standbys
from tracker.database.db import (
    BusyDatabase,
    ReadOnlyDatabase,
    Sessions,
    TroubledDatabase,
    transaction,
)
from tracker.domain import RunState
from tracker.queueing import broker, dispatcher
from tracker.store import runs
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import MakeRun, Submit
from .part_work import state_of


@pytest.fixture
def sessions(sessions: Sessions, database_url: str) -> Iterator[Sessions]:
    """Sessions that may write when the test has ended, whatever it did."""
    yield sessions
    failover.end(database_url)
    db.close(sessions)


@pytest.fixture
def headbook(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> CliRunner:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(tmp_path / "home"))
    return CliRunner()


def backend(sessions: Sessions) -> int:
    with transaction(sessions) as session:
        return session.scalars(text("SELECT pg_backend_pid()")).one()


def test_sessions_that_a_failover_left_behind_are_given_up_with_the_first_write(
    sessions: Sessions, database_url: str, make_run: MakeRun
) -> None:
    failover.begin(database_url)
    with transaction(sessions) as one, transaction(sessions) as other:
        left = {each.scalars(text("SELECT pg_backend_pid()")).one() for each in (one, other)}
    with pytest.raises(ReadOnlyDatabase) as raised, transaction(sessions) as session:
        session.execute(text("DELETE FROM headbook.run"))
    assert db.passes(raised.value)
    failover.end(database_url)
    make_run()
    assert backend(sessions) not in left


def _copy(session: Any, statement: str) -> None:
    with session.connection().connection.driver_connection.cursor().copy(statement):
        pass


def test_a_copy_that_is_refused_gives_up_the_sessions_too(
    sessions: Sessions, database_url: str
) -> None:
    failover.begin(database_url)
    with pytest.raises(ReadOnlyDatabase), transaction(sessions) as session:
        _copy(session, "COPY headbook.study (id, name, created_by) FROM STDIN")
    failover.end(database_url)
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM headbook.study"))


def test_a_session_that_only_reads_is_given_up_after_a_while(
    sessions: Sessions, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failover.begin(database_url)
    left = backend(sessions)
    assert backend(sessions) == left  # it is young
    monkeypatch.setattr(standbys, "_SETTLED", 0.5)
    when(lambda: backend(sessions) != left)
    failover.end(database_url)
    backend(sessions)
    steady = backend(sessions)
    assert backend(sessions) == steady


class NoParams(Params):
    """None."""


@pytest.fixture
def interrupted(database_url: str) -> Iterator[None]:
    """The analysis `interrupted`: a failover begins while it measures its first part."""
    until = failover.read_only_until_refused(database_url)
    first = iter([until])

    @analysis("interrupted", version=1, params=NoParams)
    def interrupted(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """A score."""
        for begun in first:
            begun.__enter__()
        one = ScoreKey(MODEL, Quantity("one"))
        return Measured(scores={one: np.ones(len(prompts), np.float32)}, tensors={})

    globals()["interrupted"] = interrupted
    yield
    until.__exit__(None, None, None)
    del registry._ANALYSES["interrupted"]


def test_a_run_outlives_a_failover_between_measuring_and_commit(
    submit: Submit, bench: WorkerContext, sessions: Sessions, interrupted: None
) -> None:
    run = submit(analysis="interrupted", params={"batch_size": 4}).run
    assert work(bench, hint=None) == 3
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.SUCCEEDED, 1)


def test_submitting_and_cancelling_wait_for_the_failover_and_say_so(
    submit: Submit, sessions: Sessions, database_url: str, headbook: CliRunner
) -> None:
    run = submit().run
    words = ["attribution", "--model", "tiny", "--distribution", "facts", "--prompts", "4"]
    for command in (["submit", *words], ["runs", "cancel", str(run.id)]):
        with failover.read_only_until_refused(database_url):
            done = headbook.invoke(app, command)
        assert done.exit_code == 0, done.output
        assert done.stderr.count("Trying again: The database is busy") == 1
    assert state_of(sessions, run.id) is RunState.CANCELLED


def test_the_dispatcher_rings_as_soon_as_the_failover_is_over(
    sessions: Sessions, database_url: str, make_run: MakeRun, broker_url: str
) -> None:
    make_run()
    rings: Celery = broker.celery_app(broker_url)
    with rings.connection_for_write() as connection:
        channel: Any = connection.default_channel
        channel.queue_purge(broker.QUEUE)
    failover.begin(database_url)
    with pytest.raises(ReadOnlyDatabase):
        dispatcher.wake_due(rings, sessions)
    failover.end(database_url)
    assert dispatcher.wake_due(rings, sessions) == 1
    rings.close()


def test_waiting_goes_on_when_the_database_has_gone_for_a_moment(
    make_run: MakeRun,
    sessions: Sessions,
    database_url: str,
    server_urls: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run()
    with ThreadPoolExecutor() as beside:
        seen = beside.submit(waiting.wait, [run.id], sessions, quiet=True)
        with failover.closed_until_missed(database_url, server_urls["postgres"]):
            pass
        with transaction(sessions) as session:
            runs.cancel(session, run.id)
        (line,) = seen.result(60)
    assert line.state is RunState.CANCELLED
    assert capsys.readouterr().err.count("Trying again: The database cannot be reached") == 1


def test_a_log_is_followed_through_the_same(
    make_run: MakeRun, sessions: Sessions, database_url: str, server_urls: dict[str, str]
) -> None:
    run = make_run()
    news = run_logs._batches(sessions, run.id, None)
    assert [results.as_text(line).split()[-1] for line in next(news)] == ["queued"]
    with failover.closed_until_missed(database_url, server_urls["postgres"]):
        assert list(next(news)) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [("40001", BusyDatabase), ("55P03", BusyDatabase), ("53300", BusyDatabase)],
)
def test_what_another_try_may_mend_is_tried_again(
    sessions: Sessions, code: str, kind: type[Exception]
) -> None:
    tries = iter([code, code])

    def troubled(session: Any) -> str:
        for each in tries:
            session.execute(text(_RAISE.format(code=each)))
        return "done"

    with pytest.raises(kind), transaction(sessions) as session:
        session.execute(text(_RAISE.format(code=code)))
    assert db.patiently(sessions, troubled) == "done"


def test_what_nobody_knows_is_tried_three_times(sessions: Sessions) -> None:
    tried: list[int] = []

    def troubled(session: Any) -> None:
        tried.append(1)
        session.execute(text(_RAISE.format(code="XX001")))

    with pytest.raises(TroubledDatabase, match="XX001"):
        db.patiently(sessions, troubled)
    assert len(tried) == 3


_RAISE = "DO $$ BEGIN RAISE EXCEPTION 'nein' USING ERRCODE = '{code}'; END $$"
