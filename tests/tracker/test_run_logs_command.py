"""`headbook runs logs` shows a run's log, and follows it to the end from any machine."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest
from stack import Stack

from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.domain.run_notes import RunNotes
from tracker.run_logs import run_log
from tracker.store import endings, runs

from .conftest import MakeRun
from .part_work import claim, finish

say = print  # what an analysis does


@pytest.fixture
def cli(sessions: Sessions, database_url: str, tmp_path: Path) -> Stack:
    """Commands on the test's database, on a home where nothing runs."""
    return Stack(tmp_path / "home", DATABASE_URL=database_url)


class Following:
    """A command under way, whose lines are read as they come."""

    def __init__(self, cli: Stack, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tracker.cli", "runs", "logs", "--follow", *words],
            env=os.environ | cli.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self) -> str:
        return self.lines.get(timeout=30)

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it said on stderr."""
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        return self.process.wait(30), said


@pytest.fixture
def follow(cli: Stack) -> Iterator[Callable[..., Following]]:
    started: list[Following] = []

    def follow(run: Run, *words: str) -> Following:
        started.append(Following(cli, str(run.id), *words))
        return started[-1]

    yield follow
    for each in started:
        each.process.kill()
        each.process.communicate()


def speak(sessions: Sessions, run: Run, *lines: str) -> None:
    """Claim the next part, say the lines, and end it."""
    claimed = claim(sessions, run.id)
    with run_log.kept(claimed, sessions=sessions, worker="w1"):
        for line in lines:
            say(line)
    finish(sessions, claimed)


def test_a_log_is_shown_as_text_and_as_json_whole_or_of_one_part(
    cli: Stack, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    speak(sessions, run, "hello", "[bold]you[/bold]")
    speak(sessions, run, "second")
    shown = cli.headbook("runs", "logs", str(run.id)[:13]).splitlines()
    assert shown[0].endswith(" run: queued")
    assert [line[24:] for line in shown if "part 0" in line] == [
        "part 0 on w1: running",
        "part 0 on w1: stdout: hello",
        "part 0 on w1: stdout: [bold]you[/bold]",
        "part 0 on w1: succeeded",
    ]
    as_json = cli.json("runs", "logs", str(run.id))
    assert len(as_json) == len(shown)
    hello = next(line for line in as_json if line["line"] == "hello")
    assert hello | {"at": ""} == {
        "at": "",
        "part": 0,
        "epoch": 1,
        "worker": "w1",
        "level": "stdout",
        "line": "hello",
    }
    assert hello["at"].endswith("+00:00")
    of_one = cli.json("runs", "logs", str(run.id), "--part", "1")
    assert [line["line"] for line in of_one] == ["running", "second", "succeeded"]
    assert "Nothing has happened yet" in cli.headbook("runs", "logs", str(run.id), "--part", "2")


def test_a_part_that_the_run_has_not_is_one_sentence(cli: Stack, make_run: MakeRun) -> None:
    run = make_run()
    said = cli.refusal("runs", "logs", str(run.id), "--part", "3")
    assert f"Run {run.id} has no part 3. Its parts are 0 to 2." in said


def test_following_shows_lines_as_they_come_and_exits_with_0_when_the_run_has_succeeded(
    follow: Callable[..., Following], sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(0, 8)])
    following = follow(run)
    assert following.line().endswith("run: queued")
    speak(sessions, run, "one")
    seen = [following.line() for _ in range(5)]
    assert any(line.endswith("stdout: one") for line in seen)
    last = claim(sessions, run.id)
    with run_log.kept(last, sessions=sessions, worker="w1"):
        with transaction(sessions) as session:
            endings.finish_run(session, last, notes=RunNotes())
        say("said after the end")
    assert following.end() == (0, "")
    rest = []
    while not following.lines.empty():
        rest.append(following.line())
    assert rest[-1].endswith("said after the end")


def test_following_a_run_that_fails_exits_with_1_and_says_why(
    follow: Callable[..., Following], sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    following = follow(run, "--json")
    assert json.loads(following.line())["line"] == "queued"
    claimed = claim(sessions, run.id)
    with transaction(sessions) as session:
        endings.fail(session, claimed, reason="error: by zero")
    code, said = following.end()
    assert (code, said) == (1, f"Error: run {run.id} is failed: error: by zero\n")
    events = [json.loads(following.line()) for _ in range(5)]
    assert {"event"} == {each["level"] for each in events}
    assert "failed: error: by zero" in [each["line"] for each in events]


def test_following_a_run_that_was_cancelled_ends_at_once(
    follow: Callable[..., Following], sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    code, said = follow(run).end()
    assert code == 1
    assert said.endswith("is cancelled: cancelled by a person\n")


def test_who_presses_ctrl_c_is_left_alone(
    follow: Callable[..., Following], make_run: MakeRun
) -> None:
    following = follow(make_run())
    following.line()
    following.process.send_signal(signal.SIGINT)
    assert following.end() == (130, "")
