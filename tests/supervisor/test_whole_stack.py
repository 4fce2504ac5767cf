"""The command `headbook` with the services as they are, in a shell that is set for other work."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from waits import when

from tracker.home.home import StackState
from tracker.secrets import logins
from tracker.supervisor import services

from .light_stack import clean_environment, family_of, still_there

HEADBOOK = Path(sys.executable).with_name("headbook")
DEAD = "http://127.0.0.1:1"
NOBODY = 65534
MODULES = ("alembic", "celery", "celeryconfig", "headbook", "mlflow", "streamlit", "torch")
PACKAGES = ("analyses", "app", "migrations", "tracker")
OTHER_WORK = {
    "LC_ALL": "C",
    "http_proxy": DEAD,
    "https_proxy": DEAD,
    "ALL_PROXY": DEAD,
    "PGDATESTYLE": "German",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSERVICE": "nowhere",
    "PGSSLMODE": "verify-full",
    "PGCHANNELBINDING": "require",
    "CELERY_CONFIG_MODULE": "nowhere",
    "STREAMLIT_SERVER_BASE_URL_PATH": "elsewhere",
    "MLFLOW_STATIC_PREFIX": "/elsewhere",
    "MLFLOW_TRACKING_AUTH": "nowhere",
    "UVICORN_ROOT_PATH": "/elsewhere",
}
OF_STREAMLIT = """
[server]
baseUrlPath = "elsewhere"
sslCertFile = "/nowhere"
[global]
developmentMode = true
"""
BROKEN = """
import sys
if sys.orig_argv[-1] == "worker":
    raise SystemExit("libnowhere.so: cannot open shared object file")
"""


@pytest.fixture
def work():
    """A folder of somebody who has modules of our names, and lets others pass."""
    with tempfile.TemporaryDirectory(prefix="headbook-work-", dir="/var/tmp") as made:
        folder = Path(made)
        for name in MODULES:
            planted(folder / f"{name}.py")
        for name in PACKAGES:
            (folder / name).mkdir()
            planted(folder / name / "__init__.py")
        (folder / ".streamlit").mkdir()
        (folder / ".streamlit" / "config.toml").write_text(OF_STREAMLIT)
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        yield folder


def planted(file):
    file.write_text("raise SystemExit('imported from where one stands')")


def run(folder, *words, **more):
    """`headbook` as an ordinary user who stands in that folder, which is the user's home as well.

    Root lends that user its right to read, for an interpreter that lies in root's own folders.
    """
    right = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *right)
    return subprocess.run(
        (*(user if os.geteuid() == 0 else ()), str(HEADBOOK), *words),
        cwd=folder,
        env=clean_environment() | OTHER_WORK | {"HOME": str(folder), **more},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.stack
def test_the_stack_comes_up_and_ends_with_its_supervisor(work):
    home = work / ".headbook"  # not ours, where root runs this: it is read as files
    try:
        up = run(work, "up", "--detach")
        assert up.returncode == 0, up.stderr
        state = StackState(**json.loads((home / "state.json").read_text()))
        assert psutil.Process(state.pid).uids().real == (os.geteuid() or NOBODY)
        assert state.app_url in up.stdout
        shown = json.loads(run(work, "status", "--json").stdout)
        assert {c["state"] for c in shown["stack"]["components"]} == {"running"}
        assert {c["last_end"] for c in shown["stack"]["components"]} == {None}
        (worker,) = shown["queue"]["workers"]  # it is there as soon as `up` returns
        assert worker["fresh"]
        assert services.answers(f"{state.app_url}/_stcore/health")()
        assert answer(state.mlflow_tracking_uri, "localhost") == 200
        assert answer(state.mlflow_tracking_uri, "evil.example") == 403
        assert answer(shown["addresses"]["mlflow"], "localhost") == 401
        for name, link in shown["secret_links"].items():
            assert link in up.stdout
            assert opened(link) == 200, name
            assert opened(shown["addresses"][name]) == 401, name
        logged = "".join(log.read_text(errors="replace") for log in (home / "logs").iterdir())
        assert [
            name
            for name, secret in json.loads((home / "secrets.json").read_text()).items()
            if secret in logged
        ] == []
        children = family_of(state)
        assert len(children) > 12
        psutil.Process(state.pid).kill()
        when(lambda: not still_there(children))
        assert "No stack is running here" in run(work, "down").stdout
    finally:
        run(work, "down")


@pytest.mark.stack
def test_a_worker_that_dies_again_and_again_ends_the_start_with_the_reason(work):
    (work / "broken").mkdir()
    (work / "broken" / "sitecustomize.py").write_text(BROKEN)
    try:
        up = run(work, "up", "--detach", PYTHONPATH="broken")
        assert up.returncode == 1
        assert "worker failed to start" in up.stderr
        assert "libnowhere.so" in up.stderr
        shown = json.loads(run(work, "status", "--json").stdout)
        assert shown["stack"]["state"] == "stopped"
    finally:
        run(work, "down")


def opened(link):
    """The status of a page for a browser that follows the link."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with browser.open(link, timeout=30) as page:
            assert "token" not in page.url
            return page.status
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def answer(url, host):
    """The status of a request that names this host, with the login in the address."""
    address, login = logins.apart(url)
    place, port = address.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(place, int(port), timeout=30)
    try:
        connection.request(
            "GET",
            "/api/2.0/mlflow/experiments/get?experiment_id=0",
            headers={"Host": f"{host}:{port}", **(login.header if login else {})},
        )
        return connection.getresponse().status
    finally:
        connection.close()
