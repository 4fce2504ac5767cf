"""No password is shown, whether its address can be parsed or not."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import structlog
from kombu import Connection
from sqlalchemy import create_engine

from tracker.home.home import Home, StackState
from tracker.run_logs import logs
from tracker.run_logs.line_buffer import clean
from tracker.secrets import redaction
from tracker.secrets.redaction import first_line, secrets_of, without_credentials, without_password
from tracker.settings.settings import BadEnvironment, Settings
from tracker.supervisor import lock, reachability
from tracker.supervisor.errors import SchemaFailed, Unreachable, last_lines
from tracker.supervisor.options import StackOptions

PASSWORD = "hun/ter@2#x"
# As people write it who do not know that it has to be quoted, or forget a part.
MALFORMED = [
    f"postgresql://ada:{PASSWORD}@127.0.0.1:1/headbook",
    "postgresql://ada:12/hunter@127.0.0.1:1/headbook",
    "postgresql://ada:12?hunter@127.0.0.1:1/headbook",
    "postgresql://ada:hunter2 127.0.0.1/headbook",
    "postgres:/ada:hunter2@127.0.0.1/headbook",
    "ada:hunter2@127.0.0.1/headbook",
    "postgresql://ada:hunter2",
    "postgresql://ada:hunter%zz@127.0.0.1:1/headbook",
    "postgresql://ada:hunter2@127.0.0.1:54x/headbook",
    "postgresql://127.0.0.1:1/headbook?user=ada&password=hunter2&unknown=1",
]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(redaction, "_patterns", ())
    return


def shows_some(text: str) -> bool:
    return any(piece in text.lower() for piece in ("hunter", "ter@2", "hun/", "2#x"))


@pytest.mark.parametrize("address", MALFORMED)
def test_of_a_malformed_address_nothing_is_shown_that_may_be_a_password(address: str) -> None:
    assert not shows_some(without_password(address))


def psycopg_connects(address: str) -> None:
    psycopg.connect(address, connect_timeout=2)


def kombu_connects(address: str) -> None:
    broker = address.replace("postgresql", "redis")
    Connection(broker).ensure_connection(max_retries=1, timeout=1)


def sqlalchemy_connects(address: str) -> None:
    create_engine(address, connect_args={"connect_timeout": 2}).connect()


@pytest.mark.parametrize("connect", [psycopg_connects, kombu_connects, sqlalchemy_connects])
@pytest.mark.parametrize("address", MALFORMED)
def test_what_libraries_say_of_a_known_address_holds_no_part_of_its_password(
    address: str, connect: Callable[[str], None]
) -> None:
    """They cut it in the oddest places, and take a piece for a host or a port."""
    redaction.learn(address, address.replace("postgresql", "redis"))
    with pytest.raises(Exception) as caught:  # noqa: PT011  each raises its own
        connect(address)
    assert not shows_some(first_line(caught.value))
    assert not shows_some(without_credentials(str(caught.value) + repr(caught.value)))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ada@db/h", "postgresql://ada@db/h"),
        ("postgres://a:b%2Fc@h1:1,h2:2/h?ssl=1", "postgres://a:***@h1:1,h2:2/h?ssl=1"),
        (
            "redis+socket://:0f9a@/v.sock?virtual_host=0",
            "redis+socket://:***@/v.sock?virtual_host=0",
        ),
        ("redis://:p@h1;redis://:q@h2", "redis://:***@h1;redis://:***@h2"),
        ("postgresql://db/h?user=a&password=b", "postgresql://db/h?user=a&password=***"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("sqlite:////a b/mlflow.db", "sqlite:////***"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_a_password_is_known_in_every_form_in_which_it_is_written() -> None:
    redaction.learn("postgresql://ada:s3%2Fcr%C3%A9t'x@db/h")
    for written in (
        "s3/crét'x",
        "s3%2Fcr%C3%A9t'x",
        "s3%2fcr%c3%a9t%27x",
        "s3/cr%C3%A9t%27x",
        json.dumps("s3/crét'x")[1:-1],
        "YWRhOnMzL2Nyw6l0J3g=",  # `ada:s3/crét'x`, as HTTP sends it
    ):
        assert without_credentials(f"he said {written}!") == "he said ***!"


def test_a_weak_password_takes_no_word_out_of_our_sentences() -> None:
    redaction.learn(
        "postgresql://headbook:headbook@db/headbook", "redis://:password@h", "a://b:in@h"
    )
    said = "password authentication failed for user headbook in 10:12 s: run `headbook up`"
    assert without_credentials(said) == said
    assert without_credentials('user="x" password="password"') == 'user="x" password=***'
    assert without_credentials("redis://:password@h") == "redis://***@h"


def test_addresses_of_others_are_found_by_their_form() -> None:
    said = (
        "GET http://ada:a/b@c@host/x failed, proxy=socks5://u:p@[::1]:1 password = 'a b', token=7"
    )
    assert without_credentials(said) == (
        "GET http://***@host/x failed, proxy=socks5://***@[::1]:1 password = ***, token=7"
    )
    harmless = "see http://127.0.0.1:5000/a@b, git+https://host/x@v1 and ada@example.org"
    assert without_credentials(harmless) == harmless


def test_a_password_that_equals_the_user_is_none_to_search_for() -> None:
    assert secrets_of("postgresql://postgres:postgres@db/h") == set()


def test_what_is_learned_from_the_environment_is_struck_out_of_logs_and_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ada:{PASSWORD}@db/h\r\n")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "tr4cking")
    settings = Settings()
    assert settings.database_url == f"postgresql://ada:{PASSWORD}@db/h"
    assert PASSWORD not in repr(settings)
    assert clean(f"no route to {PASSWORD}: tr4cking") == "no route to ***: ***"
    logs.configure()
    try:
        structlog.get_logger("t").warning("no", reason={"dsn": f"x {PASSWORD}"}, why="tr4cking")
        handler = logging.StreamHandler(sys.stdout)
        library = logging.getLogger("a.library")
        library.addHandler(handler)
        library.warning("lost %s", PASSWORD)
        try:
            raise ConnectionError(f"nothing at {PASSWORD}")
        except ConnectionError:
            library.exception("failed")
        library.removeHandler(handler)
    finally:
        structlog.reset_defaults()
        logging.setLogRecordFactory(logging.LogRecord)
    said = capsys.readouterr().out
    assert said.count("***") == 4
    assert "ConnectionError: nothing at ***" in said
    assert PASSWORD not in said
    assert "tr4cking" not in said


def test_a_setting_that_is_refused_is_shown_unless_it_is_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "HEADBOOK_LEASE_SECONDS", "postgresql://ada:hunter2@db/h"
    )  # in the wrong place
    with pytest.raises(BadEnvironment, match="HEADBOOK_LEASE_SECONDS") as caught:
        Settings()
    assert not shows_some(str(caught.value))
    monkeypatch.setenv("HEADBOOK_LEASE_SECONDS", "60")
    with pytest.raises(BadEnvironment, match=r" DATABASE_URL is \*\*\*: ") as caught:
        Settings(database_url=["hunter2"])
    assert not shows_some(str(caught.value))


@pytest.mark.stack
def test_what_the_stack_shows_of_itself_holds_no_password(tmp_path: Path) -> None:
    home, me = Home(tmp_path), psutil.Process()
    tracking = "https://ada:hunter2@mlflow.example/x"
    state = StackState(
        pid=me.pid,
        started=me.create_time(),
        database_url="postgresql+psycopg://w:hunter3@db/h",
        broker_url="redis://:hunter4@h",
        mlflow_tracking_uri=tracking,
        app_url="http://127.0.0.1:1",
        owner_url="postgresql+psycopg://o:hunter5@db/h",
    )
    home.write_state(state)
    with lock.held(home):
        for command in (["status", "--json"], ["up", "--detach"]):
            ran = subprocess.run(
                (sys.executable, "-m", "tracker.cli", *command),
                env={"PATH": "/usr/bin:/bin", "HEADBOOK_HOME": str(tmp_path)},
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
            )
            assert not shows_some(ran.stdout + ran.stderr)
    assert lock.addresses(home)["MLflow"] == "https://mlflow.example/x"
    assert not shows_some(repr(state))
    assert without_credentials("x hunter3 hunter4 hunter5") == "x *** *** ***"


@pytest.mark.parametrize("address", MALFORMED)
def test_a_stack_that_cannot_reach_a_given_server_says_so_without_its_password(
    address: str,
) -> None:
    for variable in ("database_url", "broker_url", "mlflow_tracking_uri"):
        scheme = {"broker_url": "redis", "mlflow_tracking_uri": "http"}.get(variable, "postgresql")
        given = address.replace("postgresql", scheme)
        said = ""
        try:
            asked: dict[str, Any] = {variable: given}
            reachability.check(StackOptions(**asked))
        except Unreachable as error:
            said = str(error)
        assert not shows_some(said)


def test_the_end_of_a_log_and_a_foreign_error_are_shown_without_what_is_known(
    tmp_path: Path,
) -> None:
    redaction.learn(MALFORMED[0])
    log = tmp_path / "a.log"
    log.write_text(f"cannot reach {PASSWORD}\n")
    assert last_lines(log) == "\n  cannot reach ***"
    assert "ter@2" not in str(SchemaFailed(ValueError(f"no port {PASSWORD}")))


def test_a_traceback_of_a_command_shows_no_password() -> None:
    code = (
        "import os, tracker.cli as cli\n"
        "from tracker.settings.settings import Settings\n"
        "def broken():\n"
        "    raise KeyError(Settings().database_url)\n"
        "cli.app.command('broken')(broken)\n"
        "cli.main()"
    )
    ran = subprocess.run(
        (sys.executable, "-c", code, "broken"),
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": MALFORMED[0]},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "***@127.0.0.1:1/headbook" in ran.stderr
    assert not shows_some(ran.stderr)
