"""Whatever was stored, a terminal is shown it, and is not steered by it."""

import csv
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from attacks import ATTACKS
from sqlalchemy import text

from analyses.bootstrap import Statistics
from analyses.errors import Refused
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, ScoreKey
from analyses.shown import one_line, plain
from tracker import cli
from tracker.cli import terminal
from tracker.database.db import NotText, Sessions, transaction
from tracker.domain import Run, RunState
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.run_logs import log_records
from tracker.store import endings, parts, runs, scores
from tracker.working import unfinished_parts
from tracker.working.context import WorkerContext

from .conftest import MakeRun

pytestmark = pytest.mark.attack(40, "texts on terminals and in CSV")

SHORT = {name: each for name, each in ATTACKS.items() if len(each) < 1000}
OWN_STYLES = re.compile(r"\x1b\[(1|0)m")  # the bold heads of tables


class Seen(NamedTuple):
    out: str
    err: str
    code: int


class Screen(io.TextIOWrapper):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True

    def sent(self) -> str:
        self.flush()
        content: bytes = self.buffer.getvalue()  # type: ignore[attr-defined]
        return content.decode()


Headbook = Callable[..., Seen]


@pytest.fixture
def headbook(
    sessions: Sessions, database_url: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Headbook]:
    """The command on a terminal, in this process."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(home.root))
    environment, path = dict(os.environ), list(sys.path)
    monkeypatch.setattr(terminal.console, "_width", 10_000)
    monkeypatch.setattr(terminal.console, "_force_terminal", True)

    def run(*words: str) -> Seen:
        out, err = (Screen(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["headbook", *words])
            patched.setattr(sys, "stdout", out)
            patched.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        return Seen(out.sent(), err.sent(), int(ended.value.code or 0))

    yield run
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path


def is_harmless(sent: str) -> bool:
    left = OWN_STYLES.sub("", sent).replace("\r\n", "\n")  # as CSV has it
    return all(each.isprintable() or each in "\n\t" for each in left) and "\u3164" not in left


@pytest.fixture
def attacked(sessions: Sessions, make_run: MakeRun) -> Run:
    """A run that failed, in which every text that a model, data or plugin gives is an attack."""
    run = make_run(params={f"p{number}{each}": each for number, each in enumerate(SHORT.values())})
    with transaction(sessions) as session:
        claim = parts.claim(session, run.id, worker="w1", lease=60)
        assert claim is not None
        for each in SHORT.values():
            session.execute(
                text(
                    "INSERT INTO headbook.run_log (run_id, part, epoch, worker, level, line)"
                    " VALUES (:run, 0, 1, 'w1', 'stdout', :line)"
                ),
                {"run": run.id, "line": each},
            )
            session.execute(
                text(
                    "INSERT INTO headbook.run_event (run_id, event, reason)"
                    " VALUES (:run, 'x', :why)"
                ),
                {"run": run.id, "why": each},
            )
        session.execute(
            text("UPDATE headbook.run SET notes = :notes, provenance = :notes WHERE id = :run"),
            {"run": run.id, "notes": json.dumps({each: each for each in SHORT.values()})},
        )
        endings.fail(session, claim, reason=" · ".join(SHORT.values()))
        session.execute(
            text("UPDATE headbook.model SET ref = :ref"), {"ref": "".join(SHORT.values())}
        )
        return runs.run(session, run.id)


DOORS = [
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "show", "RUN"),
    ("runs", "show", "RUN", "--json"),
    ("runs", "logs", "RUN"),
    ("runs", "logs", "RUN", "--json"),
    ("runs", "logs", "RUN", "--follow"),
    ("runs", "logs", "RUN", "--follow", "--json"),
    ("models", "list"),
    ("models", "list", "--json"),
]


@pytest.mark.parametrize("door", DOORS, ids=" ".join)
def test_no_command_is_steered_by_what_was_stored(
    headbook: Headbook, attacked: Run, door: tuple[str, ...]
) -> None:
    words = [str(attacked.id) if word == "RUN" else word for word in door]
    seen = headbook(*words)
    assert is_harmless(seen.out + seen.err)
    if "--json" in door and "--follow" not in door:
        json.loads(seen.out)
        return
    if door[0] == "models":
        assert "[bold red]alarm[/bold red]" in seen.out
        return
    for name in ("rich markup", "rich link", "rich end without a beginning", "colour", "override"):
        written = json.dumps(SHORT[name])[1:-1] if "--json" in door else one_line(SHORT[name])
        assert written in seen.out + seen.err, name


def test_no_error_is_more_than_its_words(headbook: Headbook) -> None:
    """What a person was led to type, or to paste, comes back in the refusal."""
    for name, attack in ATTACKS.items():
        for words in (("runs", "show", f"x{attack}"), ("models", "rename", f"x{attack}", "y")):
            seen = headbook(*words)
            assert (seen.out, seen.code) == ("", 1), name
            assert is_harmless(seen.err), name
            assert "Traceback" not in seen.err, name
            assert len(seen.err) < 10_000, name


@pytest.mark.parametrize("words", [("runs", "list", "--analysis"), ("runs", "show"), ("scores",)])
def test_bytes_that_are_no_text_are_refused_in_a_sentence(
    headbook: Headbook, make_run: MakeRun, words: tuple[str, ...]
) -> None:
    make_run()
    seen = headbook(*words, "caf\udce9")
    assert seen.code == 1
    assert seen.err.startswith("Error: ")
    assert "caf\\udce9" in seen.err
    assert "Traceback" not in seen.err


@pytest.mark.parametrize("value", ["a\x00b", "a\ud800b"], ids=["NUL", "half of a pair"])
def test_what_the_database_does_not_keep_is_refused_in_a_sentence(
    sessions: Sessions, make_run: MakeRun, value: str
) -> None:
    for how in ({"created_by": value}, {"params": {"text": value}}, {"params": {value: 1}}):
        with pytest.raises(NotText, match="cannot be stored"):
            make_run(**how)


def test_a_run_fails_for_any_reason_that_there_is(
    sessions: Sessions, make_run: MakeRun, home: Home
) -> None:
    bench = WorkerContext(
        name="w1",
        sessions=sessions,
        aside=sessions,
        artifacts=ArtifactStore(  # nothing is asked of it
            mlflow=mlflow_client("http://127.0.0.1:9"), spool=Spool(home.spool)
        ),
        home=home,
        roots=(),
        device="cpu",
    )
    for said in ("a\x00b", "a\ud800b", *SHORT.values()):
        run = make_run()
        with transaction(sessions) as session:
            claim = parts.claim(session, run.id, worker="w1", lease=60)
        assert claim is not None
        unfinished_parts.settle(bench, claim, Refused(said))
        with transaction(sessions) as session:
            ended = runs.run(session, run.id)
        assert ended.state is RunState.FAILED
        assert ended.reason == plain(said)


def test_csv_is_read_back_as_it_was_and_calculates_nothing(
    headbook: Headbook, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    keys = {
        ScoreKey(MODEL, Quantity(f"m{number}", varied=Varied.read(each))): each
        for number, each in enumerate(SHORT.values())
    }
    with transaction(sessions) as session:
        numbers = Statistics(n=8, skipped=0, mean=-1.5, sem=0.1, ci_low=-2.0, ci_high=-1.0)
        scores.insert_scores(session, run.id, run.model_id, dict.fromkeys(keys, (numbers, None)))
    seen = headbook("scores", str(run.id), "--csv")
    assert is_harmless(seen.out)
    rows = list(csv.DictReader(io.StringIO(seen.out)))
    found = {row["condition"].removeprefix("'") for row in rows}
    assert found == {plain(each) for each in keys.values()}
    for row in rows:
        assert row["condition"].lstrip()[:1] not in set("=+-@\t\r|%")
        assert float(row["mean"]) == -1.5
        assert float(row["ci_low"]) == -2.0
    assert is_harmless(headbook("scores", str(run.id)).out)
    told = json.loads(headbook("scores", str(run.id), "--json").out)
    assert {row["condition"] for row in told} == set(keys.values())


def test_progress_bars_of_libraries_still_begin_their_line_again(headbook: Headbook) -> None:
    code = "import sys; from tracker.cli.streams import use_streams; use_streams();"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} sys.stderr.write('\\r 50%'); sys.stderr.write('a\\rb')"],
        capture_output=True,
        check=True,
    )
    assert done.stderr == b"\r 50%a\\x0db"


def test_records_of_libraries_are_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sys, threading):  # what else it sets is put back
        monkeypatch.setattr(module, "excepthook", module.excepthook)
    log_records.without_secrets()
    try:
        record: Any = logging.getLogRecordFactory()(
            "lib", logging.WARNING, "f.py", 1, "said %s", ("\x1b[31mred",), None
        )
    finally:
        logging.setLogRecordFactory(logging.LogRecord)
    assert record.getMessage() == "said \\x1b[31mred"
