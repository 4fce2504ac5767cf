"""What a process of ours gets of a person's shell, and what it does not."""

import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import requests.utils
from stack import Stack

from tracker.queueing import broker
from tracker.settings import environment

from .conftest import MakeRun

DEAD = "http://127.0.0.1:1"
# A shell in which each of these has a purpose, for other work.
OTHER_WORK = {
    "PGDATESTYLE": "German",
    "PGOPTIONS": "-c default_transaction_read_only=on -c search_path=nowhere",
    "PGSERVICE": "nowhere",
    "PGTARGETSESSIONATTRS": "standby",
    "PGHOSTADDR": "192.0.2.1",
    "CELERY_CONFIG_MODULE": "nowhere",
    "CELERY_LOADER": "nowhere",
    "STREAMLIT_SERVER_PORT": "1",
    "MLFLOW_BACKEND_STORE_URI": "sqlite:////nowhere/mlflow.db",
    "_MLFLOW_SGI_NAME": "gunicorn",
    "UVICORN_ROOT_PATH": "/elsewhere",
    "GUNICORN_CMD_ARGS": "--bind 0.0.0.0",
    "FLASK_ENV": "development",
    "PYTHONSTARTUP": "/nowhere.py",
    "PYTHONWARNINGS": "error",
    "GIT_DIR": "/nowhere/.git",
    "MPLBACKEND": "TkAgg",
}
NEEDED = {
    "PATH": "/usr/bin",
    "HOME": "/home/ada",
    "LC_ALL": "C",
    "CUDA_VISIBLE_DEVICES": "1",
    "HF_TOKEN": "hf",
    "http_proxy": DEAD,
    "AWS_PROFILE": "ada",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "CELERY_BROKER_URL": "redis://h/0",
    "HEADBOOK_DEVICE": "cpu",
    "OF_AN_ANALYSIS": "1",
}


def test_settings_of_the_tools_inside_are_left_out_and_all_else_is_passed_on() -> None:
    made = environment.made(OTHER_WORK | NEEDED)
    assert OTHER_WORK.keys() & made.keys() == set()
    assert NEEDED.items() <= made.items()


@pytest.mark.parametrize(
    ("server", "its"),
    [
        ("DATABASE_URL", ("PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT")),
        ("MLFLOW_TRACKING_URI", ("MLFLOW_TRACKING_TOKEN", "MLFLOW_S3_ENDPOINT_URL")),
    ],
)
def test_who_one_is_and_whom_one_trusts_goes_to_the_server_a_person_names(
    server: str, its: tuple[str, ...]
) -> None:
    shell = dict.fromkeys(its, "x")
    assert environment.made(shell).keys() & shell.keys() == set()
    assert environment.made(shell | {server: "somewhere"}).keys() >= shell.keys()


@pytest.mark.parametrize(
    "shell",
    [
        {},
        {"no_proxy": "intranet.example"},
        {"NO_PROXY": "intranet.example,localhost"},
        {"no_proxy": "*"},
    ],
)
def test_this_machine_is_never_asked_through_a_proxy(
    shell: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.made(shell | {"http_proxy": DEAD}).items():
        monkeypatch.setenv(name, value)
    for host in ("127.0.0.1", "localhost"):
        assert urllib.request.proxy_bypass(host)
        assert requests.utils.get_environ_proxies(f"http://{host}:5000/") == {}
    through = requests.utils.get_environ_proxies("http://mlflow.example/").get("http")
    assert through == (None if shell.get("no_proxy") == "*" else DEAD)
    named = requests.utils.get_environ_proxies("http://intranet.example/")
    assert (named == {}) == bool(shell)


def test_a_python_that_is_started_does_not_import_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("analyses", "plugins"):
        (tmp_path / package).mkdir()
    (tmp_path / "tracker.py").write_text("raise SystemExit('from where one stands')")
    (tmp_path / "plugins" / "of_ada.py").write_text("")
    shell = os.environ | {"PYTHONPATH": os.pathsep.join(("", "plugins", ""))}

    def python(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, *words), cwd=tmp_path, env=env, capture_output=True, text=True
        )

    code = "import of_ada, tracker.settings.environment, analyses.registry"
    assert "where one stands" in python("-c", code, env=dict(shell)).stderr
    monkeypatch.chdir(tmp_path)
    made = environment.made(shell)
    assert python("-c", code, env=made).stderr == ""
    assert python("-m", "tracker.supervisor.guard", env=made).stderr == ""


def test_folders_are_found_from_wherever_a_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HEADBOOK_MODEL_ROOTS", "HEADBOOK_DATA_ROOTS"):
        assert environment.made({name: "models:/data"})[name] == f"{tmp_path}/models:/data"


def test_celery_does_not_import_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('from where one stands')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError):
        broker.celery_app().loader.import_task_module("planted")


def test_a_broker_is_verified_even_where_celery_finds_its_address_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "rediss://h/0")
    app = broker.celery_app("rediss://h/0")
    for connection in (app.connection_for_read(), app.connection_for_write()):
        assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_a_command_reads_its_database_whatever_the_shell_says_to_postgres(
    database_url: str, tmp_path: Path, make_run: MakeRun
) -> None:
    make_run()
    (listed,) = Stack(tmp_path, DATABASE_URL=database_url, **OTHER_WORK).json("runs", "list")
    assert listed["created_at"].startswith("20")


@pytest.mark.stack
def test_the_demo_says_whose_database_it_uses_and_shows_no_password(tmp_path: Path) -> None:
    given = "postgresql://ada:s3cret@127.0.0.1:1/none"
    done = Stack(tmp_path / "home", DATABASE_URL=given).run("demo")
    assert (
        "Using the database of DATABASE_URL: postgresql://ada:***@127.0.0.1:1/none" in done.stdout
    )
    assert "s3cret" not in done.stdout + done.stderr
    assert done.returncode == 1
