"""What is said while a part is worked on is heard by its run, once, and by no other."""

import contextvars
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
import structlog

from tracker.domain import LogLevel
from tracker.run_logs import logs
from tracker.run_logs.current_run import heard_by

Heard = list[tuple[str, str]]
say = print  # what an analysis does


class Listener:
    def __init__(self, run_id: str = "r1") -> None:
        self.run_id = run_id
        self.heard: Heard = []

    def hear(self, level: LogLevel, text: str, *, own: bool = False) -> None:
        self.heard.append((f"{level}{' own' if own else ''}", text))


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def events() -> Iterator[structlog.BoundLogger]:
    """Our own events, set up as in a worker."""
    logs.configure()
    yield structlog.get_logger("tracker.test")
    structlog.reset_defaults()


def test_prints_are_heard_line_by_line_and_still_printed(
    listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    with heard_by(listener):
        say("one", 2)
        say("half ", end="")
        say("and\nhalf", file=sys.stderr)
        say("whole\n\nlast", end="")
    say("after")
    stdout = [text for level, text in listener.heard if level == "stdout"]
    assert stdout == ["one 2", "half whole", "", "last"]
    assert [text for level, text in listener.heard if level == "stderr"] == ["and", "half"]
    said = capsys.readouterr()
    assert said.out == "one 2\nhalf whole\n\nlastafter\n"
    assert said.err == "and\nhalf\n"


def test_of_a_progress_bar_only_the_last_state_is_heard(listener: Listener) -> None:
    with heard_by(listener):
        for percent in range(0, 101):
            sys.stderr.write(f"\rloading {percent:3d} %" + "." * 300)
        sys.stderr.write("\n")
    (bar,) = listener.heard
    assert bar[1].startswith("loading 100 %")


def test_records_are_heard_from_info_of_our_packages_and_from_warning_of_others(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with heard_by(listener, packages=["analyses", "mine"]):
        for name in ("analyses.engine", "mine", "tracker.store", "minetoo", "transformers.models"):
            logger = logging.getLogger(name)
            logger.debug("debug %s", 1)
            logger.info("info %s", 1)
            logger.warning("warning %s", 1)
            logger.critical("critical %s", 1)
    heard = [text for _, text in listener.heard if "info" in text]
    assert heard == ["analyses.engine: info 1", "mine: info 1", "tracker.store: info 1"]
    loud = [entry for entry in listener.heard if entry[1].startswith("transformers")]
    assert loud == [
        ("warning", "transformers.models: warning 1"),
        ("critical", "transformers.models: critical 1"),
    ]
    assert not any("debug" in text for _, text in listener.heard)


def test_a_library_that_keeps_its_records_from_the_root_and_prints_them_is_heard_once(
    listener: Listener,
) -> None:
    library = logging.getLogger("aloof")
    library.propagate = False
    with heard_by(listener):
        library.addHandler(handler := logging.StreamHandler())  # on the stderr of now
        library.warning("in the block")
    library.warning("between")
    with heard_by(listener):
        library.warning("again")
    library.removeHandler(handler)
    assert listener.heard == [("warning", "aloof: in the block"), ("warning", "aloof: again")]


def test_a_record_carries_its_traceback_and_one_that_does_not_fit_its_arguments_harms_nobody(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with heard_by(listener):
        try:
            raise KeyError("gone")
        except KeyError:
            logging.getLogger("lib").exception("it broke")
        logging.getLogger("lib").warning("%d", "x")
    broke, odd = listener.heard
    assert broke[0] == "error"
    assert broke[1].startswith("lib: it broke\nTraceback")
    assert broke[1].endswith("KeyError: 'gone'")
    assert odd == ("warning", "lib: %d")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_heard_once_in_each_part_and_still_shown(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))

    def careless() -> None:
        warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)

    for _ in range(2):
        with heard_by(listener):
            careless()
            careless()
    assert [level for level, _ in listener.heard] == ["warning", "warning"]
    assert listener.heard[0][1].endswith("RuntimeWarning: mind the gap")
    assert "test_listening.py" in listener.heard[0][1]
    assert shown == ["mind the gap"] * 2


@pytest.mark.filterwarnings("default")
def test_a_warning_that_becomes_a_record_as_in_a_worker_is_heard_once(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    logging.captureWarnings(True)
    try:
        with heard_by(listener):
            warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)
    finally:
        logging.captureWarnings(False)
    assert [text.partition(" ")[2] for _, text in listener.heard] == [
        "RuntimeWarning: mind the gap"
    ]
    assert "mind the gap" in caplog.text


def test_our_own_events_are_heard_once_with_what_they_say_and_their_traceback(
    listener: Listener, events: structlog.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "s3cret"
    with heard_by(listener):
        bound = events.bind(run_id="r1", part=3)
        bound.info("part done", seconds=2)
        try:
            raise ZeroDivisionError("by zero")
        except ZeroDivisionError:
            bound.exception("the analysis raised")
    (done, raised) = listener.heard
    assert done == ("info own", "part done seconds=2")
    assert raised[0] == "error own"
    first, *traceback = raised[1].split("\n")
    assert first == "the analysis raised"
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ZeroDivisionError: by zero"
    assert secret not in raised[1]


def test_events_of_another_run_are_not_heard_and_those_of_the_run_are_from_any_thread(
    listener: Listener, events: structlog.BoundLogger
) -> None:
    def beat(run_id: str) -> None:
        events.warning("heartbeat missed", run_id=run_id)

    ready, go = threading.Event(), threading.Event()

    def beat_later() -> None:
        ready.set()
        go.wait()
        beat("r1")
        events.warning("about nothing")

    older = threading.Thread(target=beat_later)
    older.start()
    ready.wait()
    with heard_by(listener):
        beat("r2")
        go.set()
        older.join()
    assert listener.heard == [("warning own", "heartbeat missed")]


def test_a_thread_that_was_there_before_is_not_heard_and_one_that_the_block_starts_is(
    listener: Listener,
) -> None:
    go = threading.Event()

    def speak(who: str) -> None:
        go.wait()
        say(who)
        logging.getLogger("lib").warning(who)

    before = threading.Thread(target=speak, args=("before",))
    before.start()
    with heard_by(listener):
        inside = threading.Thread(target=speak, args=("inside",))
        inside.start()
        go.set()
        before.join()
        inside.join()
    assert listener.heard == [("stdout", "inside"), ("warning", "lib: inside")]


def test_two_parts_at_once_are_heard_apart_and_the_streams_come_back() -> None:
    first, second = Listener("r1"), Listener("r2")
    streams = sys.stdout, sys.stderr
    turn = threading.Barrier(2)

    def work(listener: Listener) -> None:
        with heard_by(listener):
            turn.wait()
            say(listener.run_id, end="")
            logging.getLogger("lib").warning(listener.run_id)
            turn.wait()

    threads = [
        threading.Thread(target=contextvars.Context().run, args=(work, each))
        for each in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(first.heard) == [("stdout", "r1"), ("warning", "lib: r1")]
    assert sorted(second.heard) == [("stdout", "r2"), ("warning", "lib: r2")]
    assert (sys.stdout, sys.stderr) == streams
    assert logging.Logger.callHandlers.__qualname__ == "Logger.callHandlers"


def test_who_replaces_a_stream_inside_the_block_keeps_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = sys.stdout
    with heard_by(listener):
        monkeypatch.setattr(sys, "stdout", mine)
    assert sys.stdout is mine
