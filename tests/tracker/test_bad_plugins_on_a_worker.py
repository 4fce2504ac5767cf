"""A worker among plugins that misbehave does our runs, and theirs fail with a reason."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import bad_plugins
import pytest
from stack import Stack
from waits import when
from wayward_plugin import WAYWARD

from tracker.database.db import Sessions
from tracker.domain import Model
from tracker.home.home import Home

from . import test_example_analysis
from .test_example_analysis import rung_until_published

pytestmark = pytest.mark.attack(39, "plugins that misbehave when they are used")

SOME = ("raises", "exits", "leaves", "sleeps", "crashes", "kills_its_parent", "takes_our_name")


@pytest.fixture
def environment(
    sessions: Sessions,
    database_url: str,
    broker_url: str,
    mlflow_uri: str,
    tmp_path: Path,
    home: Home,
) -> dict[str, str]:
    site = tmp_path / "site"
    site.mkdir()
    bad_plugins.install_all(site, SOME)
    bad_plugins.install(site, "wayward", WAYWARD)
    return {
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": broker_url,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "PYTHONPATH": str(site),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HEADBOOK_HOME": str(home.root),
        "HEADBOOK_PLUGIN_SECONDS": "10",
    }


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "worker.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tracker.cli", "worker"],
            env=os.environ | environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        yield log
        process.terminate()
        process.wait(30)


def test_a_worker_does_our_runs_names_the_plugins_and_outlives_what_they_do(
    environment: dict[str, str],
    home: Home,
    worker: Path,
    sessions: Sessions,
    broker_url: str,
    tiny: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(test_example_analysis, "PATIENCE", 180.0)  # trials go on beside
    cli = Stack(home.root, **environment)
    words = ("--model", "tiny", "--distribution", "facts", "--prompts", "4")
    theirs = cli.json("submit", "wayward", *words, "-p", "way=measure:exits")
    ours = cli.json("submit", "behaviour", *words)
    done = rung_until_published(UUID(ours["run"]["id"]), sessions, broker_url)
    assert done.state == "succeeded", worker.read_text()
    failed = rung_until_published(UUID(theirs["run"]["id"]), sessions, broker_url)
    assert "called sys.exit(0) ('wayward' is of the package wayward 1.0)" in str(failed.reason)
    refused = cli.refusal("submit", "raises", *words)
    assert "the package raises 1.0 is not used: it raised ValueError('no luck')" in refused
    when(lambda: all(worker.read_text().count(f"The plugin '{name}'") == 1 for name in SOME))
