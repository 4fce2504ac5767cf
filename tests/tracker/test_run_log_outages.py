"""A database that is away, cut off or hangs costs a run few lines of its log, and no time."""

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from plain_connection import connect, cut_all, plain
from waits import when

from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import LogLevel, SaidLine
from tracker.run_logs import line_buffer, logs, run_log
from tracker.store import log_lines
from tracker.store.log_lines import Kept

from .conftest import MakeRun
from .part_work import claim
from .said_lines import part_under_way, read, said, say

pytestmark = pytest.mark.usefixtures("as_in_a_worker")


def test_connections_that_are_cut_cost_no_line_and_double_none(
    make_run: MakeRun, sessions: Sessions, database_url: str, quick: None
) -> None:
    run = make_run()
    with part_under_way(sessions, run):
        for number in range(60):
            say(number)
            if number % 20 == 10:
                cut_all(database_url)
            time.sleep(0.005)
    prints = [line.line for line in read(sessions, run.id) if line.level == "stdout"]
    assert prints == [str(number) for number in range(60)]


@pytest.fixture
def away(database_url: str) -> Iterator[Callable[[], None]]:
    """The table of lines is not there until the fixture is called."""
    with connect(database_url) as connection:
        connection.execute("ALTER TABLE headbook.run_log RENAME TO run_log_away")

        def back() -> None:
            connection.execute("ALTER TABLE IF EXISTS headbook.run_log_away RENAME TO run_log")

        yield back
        back()


def test_what_cannot_be_written_waits_the_oldest_is_dropped_and_the_part_goes_on(
    make_run: MakeRun,
    sessions: Sessions,
    away: Callable[[], None],
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_buffer, "HELD", 1_000)
    run = make_run()
    with part_under_way(sessions, run):
        say("first")
        time.sleep(0.3)  # taken by the writer, which fails
        started = time.monotonic()
        for number in range(100):
            say(f"{number:3d} " + "x" * 96)
        assert time.monotonic() - started < 0.2
        away()
    told = said(sessions, run.id)
    assert told[0] == "first"
    assert "earlier lines were dropped: the database was unreachable for too long" in told[1]
    assert told[2:] == [f"{number:3d} " + "x" * 96 for number in range(90, 100)]


def test_after_an_outage_that_outlasts_the_part_its_lines_are_still_written(
    make_run: MakeRun,
    sessions: Sessions,
    away: Callable[[], None],
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_log, "_LAST_WRITE", 0.1)
    run = make_run()
    with part_under_way(sessions, run):
        say("late")
    away()
    when(lambda: said(sessions, run.id) == ["late"], seconds=10)


def test_a_writer_that_never_succeeds_gives_up_and_says_so(
    make_run: MakeRun,
    sessions: Sessions,
    away: Callable[[], None],
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()  # on the streams of this test
    monkeypatch.setattr(db, "PATIENCE", 0.2)
    run = make_run()
    with part_under_way(sessions, run):
        say("lost")
    output = capsys.readouterr().out
    assert output.count("cannot write the run's log, will retry") == 1
    assert output.count("lines of the run's log were lost") == 1


def test_a_database_that_hangs_holds_no_part_up(
    make_run: MakeRun,
    sessions: Sessions,
    database_url: str,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_log, "_LAST_WRITE", 0.3)
    run = make_run()
    claimed = claim(sessions, run.id)
    with psycopg.connect(plain(database_url)) as hanging:
        hanging.execute("LOCK TABLE headbook.run_log")
        started = time.monotonic()
        with run_log.kept(claimed, sessions=sessions, worker="w1"):
            say("later")
            time.sleep(0.2)
        assert time.monotonic() - started < 1
        hanging.rollback()
    when(lambda: said(sessions, run.id) == ["later"], seconds=10)


def test_lines_whose_commit_was_not_answered_are_not_kept_twice(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    claimed = claim(sessions, run.id)
    now = time.monotonic()
    lines = [SaidLine(now, LogLevel.STDOUT, str(number)) for number in range(3)]

    def write(new: list[SaidLine], kept: Kept, **how: bool) -> Kept:
        with transaction(sessions) as session:
            return log_lines.insert_lines(session, claimed, new, worker="w1", kept=kept, **how)

    first = write(lines[:1], Kept())
    write(lines[1:], first)
    assert write(lines[1:], first, in_doubt=True).lines == 3
    assert said(sessions, run.id) == ["0", "1", "2"]
