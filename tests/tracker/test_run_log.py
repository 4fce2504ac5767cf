"""What is said while parts are worked on is kept with their run, whatever happens meanwhile."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
import structlog
from plain_connection import connect
from sqlalchemy import func, select, text

from analyses import registry
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, ScoreKey
from tracker import db, line_buffer, logs, reports, run_log
from tracker.db import Sessions, transaction
from tracker.domain import LogLevel, Run, RunState, SaidLine
from tracker.execution import work
from tracker.reports import LogLine
from tracker.store import endings, log_lines
from tracker.store.log_lines import Kept
from tracker.tables import RunLogRow
from tracker.workbench import Workbench

from .conftest import MakeRun, Submit
from .part_work import claim, expire, state_of

say = print  # what an analysis does
TALK: dict[str, Callable[[], None]] = {}


class TalkativeParams(Params):
    """None of its own."""


@pytest.fixture
def talkative() -> Iterator[dict[str, Callable[[], None]]]:
    """An analysis `talkative` that does what the test puts under "does"."""

    @analysis("talkative", version=1, params=TalkativeParams)
    def talkative(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """Talks."""
        TALK["does"]()
        one = np.ones(len(prompts), np.float32)
        return Measured(scores={ScoreKey(component=MODEL, metric="one"): one})

    globals()["talkative"] = talkative
    yield TALK
    del registry._ANALYSES["talkative"]
    TALK.clear()


@pytest.fixture(autouse=True)
def as_in_a_worker(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Our own events and the root logger as a worker sets them up."""
    caplog.set_level(logging.INFO)
    logs.configure()
    yield
    structlog.reset_defaults()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are written twenty times a second."""
    monkeypatch.setattr(run_log, "_EVERY", 0.05)


def read(sessions: Sessions, run_id: UUID, **which: Any) -> list[LogLine]:
    with transaction(sessions) as session:
        return list(reports.run_log(session, run_id, **which).lines)


def said(sessions: Sessions, run_id: UUID) -> list[str]:
    return [line.line for line in read(sessions, run_id) if line.level != reports.EVENT]


def when(passes: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not passes():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.02)


@pytest.mark.filterwarnings("default")
def test_the_log_of_a_run_tells_in_order_what_happened_and_what_was_said(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    talkative: dict[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warnings, "showwarning", lambda *_: None)

    def talk() -> None:
        say("measuring", end="")
        say(" some")
        sys.stderr.write("careful\n")
        logging.getLogger("analyses.methods").info("layer %d", 3)
        logging.getLogger("transformers").warning("slow")
        warnings.warn("steep", RuntimeWarning, stacklevel=1)
        say("done")

    talkative["does"] = talk
    run = submit(analysis="talkative").run
    work(bench, hint=None)
    lines = read(sessions, run.id)
    assert lines == sorted(lines, key=lambda line: line.at)
    told = [(line.part, line.level, line.line) for line in lines]
    of_a_part = [
        ("event", "running"),
        ("stdout", "measuring some"),
        ("stderr", "careful"),
        ("info", "analyses.methods: layer 3"),
        ("warning", "transformers: slow"),
        ("warning", f"{__file__}:{talk.__code__.co_firstlineno + 6}: RuntimeWarning: steep"),
        ("stdout", "done"),
        ("event", "succeeded"),
        ("info", "part done"),
    ]
    assert told[0] == (None, "event", "queued")
    assert [entry[1:] for entry in told if entry[0] == 0] == of_a_part
    assert [entry[1:] for entry in told if entry[0] == 1] == of_a_part
    finish = [entry[1:] for entry in told if entry[0] == 2]
    assert finish == [("event", "running"), ("event", "succeeded"), ("info", "part done")]
    assert [line for part, _, line in told if part is None] == [
        "queued",
        "running",
        "finishing",
        "succeeded",
    ]
    assert {(line.worker, line.epoch) for line in lines if line.part == 0} == {("w1", 1)}
    assert read(sessions, run.id, part=1) == [line for line in lines if line.part == 1]
    assert [line.line for line in read(sessions, run.id, last=3)] == [
        line.line for line in lines[-3:]
    ]


def test_an_analysis_that_raises_leaves_its_traceback_without_passwords_or_values(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    talkative: dict[str, Callable[[], None]],
) -> None:
    def breaks() -> None:
        password = "".join(reversed("terc3s"))
        raise ConnectionError(f"no answer from http://ada:{password}@host/")

    talkative["does"] = breaks
    run = submit(analysis="talkative").run
    work(bench, hint=None)
    assert state_of(sessions, run.id) is RunState.FAILED
    lines = read(sessions, run.id)
    told = [line.line for line in lines]
    start = told.index("the analysis raised")
    assert told[start + 1] == "Traceback (most recent call last):"
    assert "ConnectionError: no answer from http://***@host/" in told
    assert not any("s3cret" in line for line in told)
    levels = {line.level for line in lines if line.line.startswith(("the analysis", "Connection"))}
    assert levels == {"error"}
    assert start < told.index("failed")  # said before the run ended, shown before


def test_two_runs_at_once_and_other_threads_are_not_mixed(
    make_run: MakeRun, sessions: Sessions
) -> None:
    def work_on(run: Run) -> None:
        claimed = claim(sessions, run.id, f"worker of {run.id}")
        with run_log.kept(claimed, sessions=sessions, worker=f"worker of {run.id}"):
            for number in range(20):
                say(f"{run.id} {number}")
                time.sleep(0.002)

    both = [make_run(), make_run()]
    with ThreadPoolExecutor(3) as pool:
        others = pool.submit(lambda: [(say("nobody's"), time.sleep(0.002)) for _ in range(20)])
        list(pool.map(work_on, both))
        others.result()
    for run in both:
        assert said(sessions, run.id) == [f"{run.id} {number}" for number in range(20)]


def test_lines_are_there_within_about_a_second_of_being_said(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        say("now")
        when(lambda: said(sessions, run.id) == ["now"], seconds=3)
        (line,) = [each for each in read(sessions, run.id) if each.line == "now"]
    with transaction(sessions) as session:
        age = session.scalars(select(func.clock_timestamp())).one() - line.at
    assert age.total_seconds() > 0.9  # the time is when it was said, not when it was written


def test_an_error_of_our_own_is_written_at_once_as_the_process_may_end(
    make_run: MakeRun, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "_EVERY", 60)
    run = make_run()
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        say("before")
        structlog.get_logger().error("its process ends", run_id=str(run.id))
        when(lambda: said(sessions, run.id) == ["before", "its process ends"])


def test_lines_of_a_part_that_was_taken_back_stay_also_after_the_run_has_ended(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run(bounds=[(0, 8)], max_crashes=1)
    lost = claim(sessions, run.id, "gone")
    with run_log.kept(lost, sessions=sessions, worker="gone"):
        expire(sessions, lost)
        with transaction(sessions) as session:
            endings.reap(session, run.id)
        assert state_of(sessions, run.id) is RunState.FAILED
        say("still here")
    (line,) = [each for each in read(sessions, run.id) if each.level == "stdout"]
    assert (line.worker, line.epoch, line.part) == ("gone", lost.epoch, 0)


def cut_all_connections(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_connections_that_are_cut_cost_no_line_and_double_none(
    make_run: MakeRun, sessions: Sessions, database_url: str, quick: None
) -> None:
    run = make_run()
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        for number in range(60):
            say(number)
            if number % 20 == 10:
                cut_all_connections(database_url)
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
    claimed = claim(sessions, run.id)
    with run_log.kept(claimed, sessions=sessions, worker="w1"):
        say("first")
        time.sleep(0.3)  # taken by the writer, which fails
        started = time.monotonic()
        for number in range(100):
            say(f"{number:3d} " + "x" * 96)
        assert time.monotonic() - started < 0.2
        away()
    told = said(sessions, run.id)
    assert told[0] == "first"
    assert "earlier lines were dropped: they could not be written in time" in told[1]
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
    claimed = claim(sessions, run.id)
    with run_log.kept(claimed, sessions=sessions, worker="w1"):
        say("late")
    away()
    when(lambda: said(sessions, run.id) == ["late"])


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
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        say("lost")
    output = capsys.readouterr().out
    assert output.count("the run's log waits for the database") == 1
    assert output.count("lines of the run's log are lost") == 1


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
    with psycopg.connect(database_url.replace("+psycopg", "")) as hanging:
        hanging.execute("LOCK TABLE headbook.run_log")
        started = time.monotonic()
        with run_log.kept(claimed, sessions=sessions, worker="w1"):
            say("later")
            time.sleep(0.2)
        assert time.monotonic() - started < 1
        hanging.rollback()
    when(lambda: said(sessions, run.id) == ["later"])


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


def test_lines_of_one_run_are_numbered_in_the_order_of_their_commits(
    make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run()
    first, second = claim(sessions, run.id, "w1"), claim(sessions, run.id, "w2")

    def write(line: str) -> None:
        with transaction(sessions) as session:
            told = [SaidLine(time.monotonic(), LogLevel.INFO, line)]
            log_lines.insert_lines(session, second, told, worker="w2", kept=Kept())

    with ThreadPoolExecutor(1) as pool, transaction(sessions) as session:
        told = [SaidLine(time.monotonic(), LogLevel.INFO, "first")]
        log_lines.insert_lines(session, first, told, worker="w1", kept=Kept())
        waiting = pool.submit(write, "second")
        time.sleep(0.2)
        assert not waiting.done()
        session.commit()
        waiting.result(10)
    with transaction(sessions) as session:
        query = select(RunLogRow.line).order_by(RunLogRow.seq)
        assert session.scalars(query).all() == ["first", "second"]


def test_what_was_read_is_not_read_again(make_run: MakeRun, sessions: Sessions) -> None:
    run = make_run()
    with transaction(sessions) as session:
        log = reports.run_log(session, run.id)
    assert [line.line for line in log.lines] == ["queued"]
    assert log.live
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        say("new")
    with transaction(sessions) as session:
        news = reports.run_log(session, run.id, after=log.read)
        nothing = reports.run_log(session, run.id, after=news.read)
    assert [line.line for line in news.lines] == ["running", "running", "new"]
    assert (list(nothing.lines), nothing.read) == ([], news.read)


def test_a_reader_sees_logs_in_the_results(make_run: MakeRun, sessions: Sessions) -> None:
    run = make_run()
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        say("hello")
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL ROLE headbook_reader"))
        query = "SELECT analysis, part, worker, level, line FROM results.run_logs ORDER BY at, seq"
        rows = [tuple(row) for row in session.execute(text(query))]
    assert rows == [
        ("attribution", None, None, "event", "queued"),
        ("attribution", 0, "w1", "event", "running"),
        ("attribution", None, None, "event", "running"),
        ("attribution", 0, "w1", "stdout", "hello"),
    ]
