"""A worker among plugins that misbehave does our runs, and theirs fail with a reason."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import bad_plugins
import pytest
from sqlalchemy import update
from stack import Stack
from waits import when
from wayward_plugin import WAYWARD

from tracker.database.db import Sessions, transaction
from tracker.domain import Model
from tracker.home.home import Home
from tracker.results import RunLine
from tracker.tables import RunRow

from .worker_process import published

pytestmark = pytest.mark.attack(39, "plugins that misbehave when they are used")

SOME = (
    *("raises", "exits", "leaves", "sleeps", "crashes", "kills_its_parent", "takes_our_name"),
    *("eats_memory", "leaves_a_thread", "interrupts"),
)
WORDS = ("--model", "tiny", "--distribution", "facts", "--prompts", "4")


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    site = tmp_path / "site"
    site.mkdir()
    bad_plugins.install_all(site, SOME)
    bad_plugins.install(site, "wayward", WAYWARD)
    bad_plugins.install(site, "prints", bad_plugins.HARMLESS["prints"])
    return environment | {
        "PYTHONPATH": str(site),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HEADBOOK_PLUGIN_SECONDS": "10",
        "HEADBOOK_LEASE_SECONDS": "10",
        "HEADBOOK_HEARTBEAT_SECONDS": "1",
    }


@pytest.fixture
def ended(
    environment: dict[str, str],
    home: Home,
    worker: Path,
    sessions: Sessions,
    broker_url: str,
    tiny: Model,
) -> Callable[..., RunLine]:
    """Queues a run of four prompts by the command line; how it ends on the worker."""

    def ended(*request: str, **limits: int) -> RunLine:
        queued = UUID(Stack(home.root, **environment).json("submit", *request, *WORDS)["run"]["id"])
        if limits:
            with transaction(sessions) as session:
                session.execute(update(RunRow).where(RunRow.id == queued).values(limits))
        return published(queued, sessions=sessions, broker_url=broker_url)

    return ended


def test_a_worker_does_our_runs_names_the_plugins_and_outlives_what_they_do(
    ended: Callable[..., RunLine], environment: dict[str, str], home: Home, worker: Path
) -> None:
    left = ended("wayward", "-p", "way=measure:leaves", max_crashes=1)
    assert (left.state, "crash 1" in str(left.reason)) == ("failed", True)
    exited = ended("wayward", "-p", "way=measure:exits")
    assert "called sys.exit(0) ('wayward' is of the package wayward 1.0)" in str(exited.reason)
    assert ended("prints").state == ended("behaviour").state == "succeeded", worker.read_text()
    refused = Stack(home.root, **environment).refusal("submit", "raises", *WORDS)
    assert "the package raises 1.0 is not used: it raised ValueError('no luck')" in refused
    when(lambda: all(worker.read_text().count(f"The plugin '{name}'") == 1 for name in SOME))
