"""What is said while parts are worked on is kept with their run."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import structlog
from sqlalchemy import func, select, text
from waits import when

from analyses import registry
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, ScoreKey
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import LogLevel, Run, RunState, SaidLine
from tracker.run_logs import run_log
from tracker.store import endings, log_lines
from tracker.store.log_lines import Kept
from tracker.tables import RunLogRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import MakeRun, Submit
from .part_work import claim, expire, state_of
from .said_lines import part_under_way, read, said, say

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
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
        return Measured(scores={ScoreKey(MODEL, Quantity("one")): one})

    globals()["talkative"] = talkative
    yield TALK
    del registry._ANALYSES["talkative"]
    TALK.clear()


@pytest.mark.filterwarnings("default")
def test_the_log_of_a_run_tells_in_order_what_happened_and_what_was_said(
    submit: Submit,
    bench: WorkerContext,
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
    bench: WorkerContext,
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
    with part_under_way(sessions, run):
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
    with part_under_way(sessions, run):
        say("before")
        structlog.get_logger().error("its process ends", run_id=str(run.id))
        when(lambda: said(sessions, run.id) == ["before", "its process ends"], seconds=10)


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
        log = results.run_log(session, run.id)
    assert [line.line for line in log.lines] == ["queued"]
    assert log.live
    with part_under_way(sessions, run):
        say("new")
    with transaction(sessions) as session:
        news = results.run_log(session, run.id, after=log.read)
        nothing = results.run_log(session, run.id, after=news.read)
    assert [line.line for line in news.lines] == ["running", "running", "new"]
    assert (list(nothing.lines), nothing.read) == ([], news.read)


def test_a_reader_sees_logs_in_the_results(make_run: MakeRun, sessions: Sessions) -> None:
    run = make_run()
    with part_under_way(sessions, run):
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
