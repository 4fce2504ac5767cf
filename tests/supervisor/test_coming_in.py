"""How people come in: the app by itself tells the link, and leads on to MLflow."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from http_asking import Answer, Ask, ask
from mlflow_login import mlflow_at

from tracker.home.home import Home, StackState
from tracker.supervisor import ports, services, waiting

from .light_stack import clean_environment

Start = Callable[..., tuple[int, str]]
APP = (sys.executable, "-m", "tracker.cli", "app")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(home: Home, database_url: str) -> Iterator[Start]:
    """Starts `headbook app` with these variables; its port, and what it has said until it is up."""
    with ExitStack() as running:
        yield lambda **environment: running.enter_context(app(home, database_url, environment))


@contextmanager
def app(home: Home, database_url: str, more: dict[str, str]) -> Iterator[tuple[int, str]]:
    port, said = ports.free(), home.root.with_name("said.txt")
    own = environment(home, database_url) | {"HEADBOOK_APP_PORT": str(port)}
    with said.open("w") as file:
        process = subprocess.Popen(APP, env=own | more, cwd=ROOT, stdout=file, stderr=file)
    try:
        ready = services.answers(f"http://127.0.0.1:{port}/_stcore/health")
        assert waiting.passes(ready, seconds=60), said.read_text()
        yield port, said.read_text()
    finally:
        process.terminate()
        process.wait(timeout=30)


def environment(home: Home, database_url: str) -> dict[str, str]:
    own = {"DATABASE_URL": database_url, "HEADBOOK_HOME": str(home.root)}
    return clean_environment() | own


def stack_with_mlflow(home: Home, token: str) -> None:
    """As if a stack ran on the home: this process, with an MLflow that asks who comes."""
    home.root.mkdir(mode=0o700, exist_ok=True)
    home.write_state(
        StackState(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            database_url="",
            broker_url="",
            mlflow_tracking_uri=mlflow_at(5000),
            app_url="http://127.0.0.1:1",
            owner_url="",
            mlflow_token=token,
        )
    )


def cookie(answer: Answer) -> str:
    return (answer.header("set-cookie") or "").partition(";")[0]


def test_the_app_tells_its_link_which_leads_on_to_mlflow(start: Start, home: Home) -> None:
    port, said = start()
    (link,) = re.findall(rf"http://127.0.0.1:{port}(/\?token=\w+)", said)
    assert ask(port, Ask()).status == 401
    known = {"Cookie": cookie(ask(port, Ask(target=link)))}
    assert ask(port, Ask(headers=known)).status == 200

    stack_with_mlflow(home, token := "of-the-stack-and-of-this-length")
    assert ask(port, Ask(target="/mlflow/")).status == 401
    onward = ask(port, Ask(target="/mlflow/", headers=known)).header("location") or ""
    entrance, _, ticket = onward.partition("?token=")
    assert entrance == "http://127.0.0.1:5000/"
    assert token not in onward
    assert services.mlflow_access(mlflow_at(5000), token).knows_token(ticket)


def test_a_token_that_is_given_opens_the_app_and_is_not_told(start: Start) -> None:
    token = "given-by-somebody-else"
    port, said = start(HEADBOOK_APP_TOKEN=token)
    assert token not in said
    assert ask(port, Ask(target=f"/?token={token}")).status == 303


def test_behind_a_login_of_a_proxy_it_asks_nobody_and_says_so(start: Start, home: Home) -> None:
    port, said = start(HEADBOOK_APP_LOGIN="none", HEADBOOK_APP_URL="https://book.example/")
    assert "HEADBOOK_APP_LOGIN is none" in said
    assert ask(port, Ask()).status == 200
    assert ask(port, Ask(headers={"Host": "evil.example"})).status == 403
    at_proxy = {"Host": "book.example", "Origin": "https://book.example"}
    assert ask(port, Ask(headers=at_proxy)).status == 200
    stack_with_mlflow(home, "of-the-stack-and-of-this-length")
    onward = ask(port, Ask(target="/mlflow/"))
    assert onward.header("location") == "http://127.0.0.1:5000/"  # which asks for itself


def test_a_wrong_word_is_told_before_anything_starts(home: Home, database_url: str) -> None:
    own = environment(home, database_url) | {"HEADBOOK_APP_LOGIN": "off"}
    done = subprocess.run(APP, env=own, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "HEADBOOK_APP_LOGIN is 'off'" in done.stderr


def test_mlflow_gets_no_secret_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:hunter2@elsewhere:6379/0")
    addresses = services.Addresses(
        database_url="",
        broker_url="",
        mlflow_backend="sqlite:///mlflow.db",
        mlflow_port=5000,
        mlflow_tracking_uri="http://headbook:p@127.0.0.1:5000",
        app_port=8501,
    )
    env = services.mlflow_server(Home(tmp_path / "home"), addresses).command.env
    assert "hunter2" not in repr(env)
    assert env["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///mlflow.db"
