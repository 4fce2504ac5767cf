"""Secrets in every form in which they are written, at every door through which texts go out."""

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tracker.run_logs import logs
from tracker.run_logs.line_buffer import clean
from tracker.secrets import redaction
from tracker.secrets.redaction import first_line, secrets_of, without_credentials, without_password
from tracker.secrets.urls import for_links
from tracker.settings.environment import without_secrets
from tracker.settings.settings import Settings
from tracker.supervisor.errors import SchemaFailed, Unreachable, last_lines

TOKEN = "hunter" + "2fA9kL0qWmZx7RtYb3Cd"

# Nothing was learned: the form alone says it. Every one holds `hunter`.
FORMS = {
    "a query": "GET https://db.example/h?user=ada&password=hunter2&x=1 failed",
    "a query with a comma": "no route: postgresql://db/h?password=hun,hunter2",
    "a query with punctuation": "redis://h/0?password=a;(hunter2)'",
    "a query's name in percents": "https://h/x?pass%77ord=hunter2",
    "a query's sslpassword": "postgresql://db/h?sslpassword=hunter2",
    "a query's token": "https://h/api?token=hunter2&page=2",
    "a query's signature": "https://s3.example/b/k?X-Amz-Signature=hunter2&X-Amz-Date=1",
    "a query's security token": "https://s3.example/b?X-Amz-Security-Token=hunter2",
    "an Azure signature": "https://a.blob.example/c?sv=2020&sig=hunter2%3D",
    "a Google signature": "https://g.example/b?X-Goog-Signature=hunter2",
    "a query's key": "https://maps.example/x?key=hunter2",
    "a DSN": "connection failed: host=db user=ada password=hunter2 dbname=h",
    "a DSN in quotes": r"host=db password='hun\'t hunter2' dbname=h",
    "a DSN with an escaped space": r"host=db password=a\ hunter2 dbname=h",
    "a DSN with a comma": "host=db password=hun,hunter2 dbname=h",
    "a DSN with spaces": "host = db password = hunter2",
    "a DSN's sslpassword": "sslkey=/k sslpassword=hunter2",
    "a dictionary": "{'user': 'ada', 'password': 'it''s hunter2'}",
    "a dictionary with escapes": r"{'password': 'it\'s hunter2'}",
    "JSON": r'{"password": "a\"b hunter2"}',
    "JSON in JSON": r'"{\"user\": \"ada\", \"password\": \"hunter2\"}"',
    "bytes": "{'password': b'hunter2'}",
    "YAML": "user: ada\npassword: hunter2\n",
    "a config file": "requirepass hunter2",
    "an option": "mlflow server --db-password hunter2 --port 1",
    "an option with =": "valkey-server --requirepass=hunter2",
    "an account key": "DefaultEndpointsProtocol=https;AccountKey=hunter2;x=1",
    "ODBC": "Driver=x;UID=ada;PWD=hunter2;Server=db",
    "an access key": "aws_secret_access_key = hunter2",
    "an API key": "api_key=hunter2",
    "a hub's token": "HF_TOKEN=hunter2 was refused",
    "userinfo": "cannot reach postgresql://ada:hunter2@db/h",
    "userinfo without a scheme": "cannot reach ada:hunter2@db.example/h",
    "userinfo without a scheme, on a port": "no host ada:hunter2@db:5432/h",
    "userinfo after one slash": "bad: postgres:/ada:hunter2@127.0.0.1/h",
    "userinfo with slashes": "postgresql://ada:hun/hunter2@db/h",
    "a token as a user": f"git clone https://{TOKEN}@github.example/x failed",
    "an Authorization header": "{'Authorization': 'Basic aHVudGVyhunter2=='}",
    "a header in lower case": "authorization: token hunter2",
    "a bearer": "sent Bearer hunter2.hunter2 to it",
    "a cookie": "Set-Cookie: session=hunter2; Path=/",
    "an API key's header": "X-Api-Key: hunter2",
    "a private token's header": "'PRIVATE-TOKEN': 'hunter2'",
    "a token of the hub": f"hf_{TOKEN} may not",
    "a token of GitHub": f"ghp_{TOKEN} may not",
    "a JWT": f"eyJ{TOKEN}.eyJ{TOKEN}.{TOKEN}",
    "SQL": "[SQL: ALTER ROLE ada PASSWORD 'it''s hunter2']",
    "a verifier": f"SCRAM-SHA-256$4096:{TOKEN}$a=:b=",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
}
HARMLESS = (
    "token='hello' answer_token=12 n_tokens=7, eos_token: </s>",
    "hub:gpt2@main and hub:ada/gpt2@v1.0 at 10:12:13",
    "http://127.0.0.1:8501/run?id=3f2a&seed=1 is the page",
    "password authentication failed for user headbook",
    "keys=4 d_model=64 sorted(key=len) signature=(x, y)",
    "bearer of bad news, basic understanding",
    "see git@github.com:ada/x and ada@example.org",
)


def through_a_record(text: str) -> str:
    written = io.StringIO()
    logger, handler = logging.Logger("a.library"), logging.StreamHandler(written)
    logger.addHandler(handler)
    logger.warning("it said %s", text)
    try:
        raise ConnectionError(text)
    except ConnectionError:
        logger.exception("failed", stack_info=True)
    return written.getvalue()


def through_an_event(text: str) -> str:
    made = structlog.PrintLoggerFactory(written := io.StringIO())
    structlog.configure(logger_factory=made)
    structlog.get_logger().warning("failed", error=text, more={"dsn": text})
    return written.getvalue()


def through_a_log_file(text: str) -> str:
    file = Path(os.environ["A_LOG"])
    file.write_text(text.replace("\n", " ") + "\n")
    return last_lines(file)


DOORS: dict[str, Callable[[str], str]] = {
    "a text": without_credentials,
    "a line of a run's log": lambda text: "\n".join(map(clean, text.split("\n"))),
    "an error's first line": lambda text: first_line(ValueError(text.replace("\n", " "))),
    "a record of logging": through_a_record,
    "an event": through_an_event,
    "the end of a log": through_a_log_file,
    "a schema that fails": lambda text: str(SchemaFailed(ValueError(text.replace("\n", " ")))),
}
# Line by line a key in several lines has no form, nor has a file's line in the midst of one.
IN_LINES = {"a private key", "YAML", "a config file"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(redaction, "_patterns", ())
    monkeypatch.setenv("A_LOG", str(tmp_path / "a.log"))
    logs.configure()
    yield
    structlog.reset_defaults()
    logging.setLogRecordFactory(logging.LogRecord)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_secret_passes_a_door(form: str, door: str) -> None:
    if form in IN_LINES and door != "a text":
        pytest.skip("these forms are of several lines, or of a whole one")
    said = DOORS[door](FORMS[form])
    assert "***" in said
    assert "hunter" not in said


@pytest.mark.parametrize("said", HARMLESS)
def test_what_is_no_secret_stays(said: str) -> None:
    assert without_credentials(said) == said


@pytest.mark.parametrize(
    "address",
    [
        "postgresql:ada:hunter2",
        "ada:hunter2",
        "host=db password=hunter2",
        "localhost 5432 ada hunter2",
        "redis:hunter2",
        "http:/ada:hunter2/mlflow",
        "hunter2!x",
    ],
)
def test_a_malformed_address_is_shown_nowhere(address: str) -> None:
    """Neither by us nor, once it is known, in what a library says of it."""
    assert "hunter" not in without_password(address)
    redaction.learn(address)
    assert "hunter" not in str(Unreachable("X", without_password(address), "no such scheme"))
    if ":" in address or "=" in address:
        assert "hunter" not in without_credentials(f"unknown transport in {address!r}: {address}")


@pytest.mark.parametrize("plain", ["databricks", "localhost:5432", "/run/v.sock", "file:///a/b"])
def test_an_address_without_a_secret_is_shown(plain: str) -> None:
    assert without_password(plain) == plain


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("PGPASSWORD", "HEADBOOK_MLFLOW_PASSWORD", "HEADBOOK_APP_TOKEN", "GITHUB_TOKEN"),
        *("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "WANDB_API_KEY"),
        *("REDISCLI_AUTH", "PIP_PASSWORD", "SMTP_PASS", "CLIENT_SECRET", "OPENAI_APIKEY"),
    ],
)
def test_a_variable_is_known_for_a_secret_by_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "s3cr/t-hunter")
    Settings()
    assert without_credentials("he sent s3cr/t-hunter, s3cr%2Ft-hunter") == "he sent ***, ***"
    assert name not in without_secrets(os.environ)


def test_variables_that_only_sound_like_secrets_teach_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "TOKENIZERS_PARALLELISM": "parallel",
        "SSH_AUTH_SOCK": "/tmp/agent.sock",
        "HF_TOKEN_PATH": "/home/ada/token",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE1",
        "USE_AUTH": "true",
    }.items():
        monkeypatch.setenv(name, value)
    Settings()
    said = "parallel=/tmp/agent.sock '/home/ada/token' AKIDEXAMPLE1 x=true"
    assert without_credentials(said) == said


def test_addresses_in_any_variable_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://ada:pr0xy-hunter@proxy:3128")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "https://s3.example/?sig=s1g-hunter")
    Settings()
    assert without_credentials("pr0xy-hunter, s1g-hunter") == "***, ***"


def test_what_libpq_reads_from_a_file_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("# db:5432:*:x:no-hunter\ndb:5432:*:ada:a\\:b-hunter\nodd line\n")
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    Settings()
    assert without_credentials("said a:b-hunter and no-hunter") == "said *** and no-hunter"


@pytest.mark.parametrize("text", ["\n", "eyJ-", "x-a-", "://a:", "a:b@", "password=\\'", "-"])
def test_a_long_text_is_searched_once(text: str) -> None:
    started = time.process_time()
    without_credentials(text * (100_000 // len(text)))
    assert time.process_time() - started < 5


def test_a_query_teaches_what_is_meant_and_what_is_written() -> None:
    assert secrets_of("postgresql://db/h?user=a&password=p%2Cq") == {"p%2Cq", "p,q"}
    assert secrets_of(f"https://{TOKEN}@h/x") == {TOKEN}


def test_a_link_to_the_app_holds_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBOOK_APP_URL", "https://ada:hunter2@lab.example:8443/book/?token=x#y")
    assert Settings().app() == "https://lab.example:8443/book"
    assert for_links("http://127.0.0.1:8501") == "http://127.0.0.1:8501"


UNCAUGHT = """
import threading
from tracker.run_logs import log_records
log_records.without_secrets()
def fail():
    raise RuntimeError("postgresql://ada:hunter2@db/h")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def test_what_nobody_catches_is_written_without_secrets() -> None:
    ran = subprocess.run(
        (sys.executable, "-c", UNCAUGHT),
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert ran.stderr.count("RuntimeError: postgresql://***@db/h") == 2
    assert "hunter2" not in ran.stderr.replace('"postgresql://ada:hunter2@db/h"', "")
