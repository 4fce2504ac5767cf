"""A database per test worker, in servers that all share and that start when a test asks."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import shared_servers
from attack_counts import Attacks
from huggingface_hub import constants
from local_hub import LocalHub, local_hub, use_hub_at
from mlflow_login import mlflow_at
from plain_connection import connect, cut_all, empty, still_connected
from shared_servers import SharedServers
from sqlalchemy import make_url
from tiers import Tiers

from tracker.database import db, schema
from tracker.database.db import Sessions
from tracker.home.home import Home
from tracker.supervisor import ports, services, waiting
from tracker.supervisor.process import Process

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several of torch's threads on one core wait for each other's turns: ten times as long as one
    # takes by itself. Processes that tests start have this from here.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time, so that what fails fails again; `random` looks for others.
hypothesis.settings.register_profile("same", derandomize=True, database=None)
hypothesis.settings.register_profile("random")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# What a developer has set must not decide what a test does.
OURS = ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI")
SERVERS = pytest.StashKey[Path]()  # the folder of the servers that all test workers share


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Attacks())
    config.pluginmanager.register(Tiers())
    for name in list(os.environ):
        if name in OURS or (name.startswith("HEADBOOK_") and not name.startswith("HEADBOOK_TEST_")):
            del os.environ[name]
    for number in (signal.SIGHUP, signal.SIGINT):
        # Ignored, as under nohup, would be ignored in all processes that tests start.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    servers = SharedServers()
    config.add_cleanup(servers.close)
    config.stash[SERVERS] = servers.folder


def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where to ask for the servers."""
    node.workerinput["servers"] = str(node.config.stash[SERVERS])


@pytest.fixture(scope="session")
def server_urls(pytestconfig: pytest.Config) -> dict[str, str]:
    """Where Postgres and Valkey are; they start when the first test asks."""
    given = getattr(pytestconfig, "workerinput", None)
    return shared_servers.urls(Path(given["servers"]) if given else pytestconfig.stash[SERVERS])


@pytest.fixture(scope="session")
def database_url(server_urls: dict[str, str], worker_id: str) -> str:
    """A migrated database of this test worker's own."""
    name = f"test_{worker_id}"
    admin = make_url(server_urls["postgres"])
    with connect(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = admin.set(database=name).render_as_string(hide_password=False)
    schema.upgrade(url)
    return url


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    """Sessions on an empty database; what a test wrote is gone before the next."""
    made = db.connect(database_url)
    yield made
    db.close(made)
    left = still_connected(database_url)
    if left:
        cut_all(database_url)
    with connect(database_url) as connection:
        empty(connection)
    assert not left, f"The test leaves connections to its database open: {left}"


@pytest.fixture(scope="session")
def broker_url(server_urls: dict[str, str], worker_id: str) -> str:
    """The Valkey database of this test worker."""
    number = 0 if worker_id == "master" else 1 + int(worker_id.removeprefix("gw"))
    return server_urls["valkey"].replace("virtual_host=0", f"virtual_host={number}")


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Where the MLflow server keeps what it has: `mlflow.db`, and artifacts."""
    home = Home(tmp_path_factory.mktemp("mlflow"))
    home.logs.mkdir()
    return home


@pytest.fixture(scope="session")
def mlflow_uri(mlflow_home: Home) -> Iterator[str]:
    """The address of a real MLflow server, started as the stack starts it, with its login."""
    home = mlflow_home
    port = ports.free()
    service = services.mlflow_server(
        home,
        services.Addresses(
            database_url="",
            broker_url="",
            mlflow_backend=f"sqlite:///{home.root}/mlflow.db",
            mlflow_port=port,
            mlflow_tracking_uri=mlflow_at(port),
            app_port=0,
        ),
    )
    process = Process(service.command)
    try:
        waiting.until(service.ready, process=process, seconds=120)
        yield mlflow_at(port)
    finally:
        process.stop()


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub on this machine, and a fresh folder for what is downloaded from it."""
    with local_hub() as made:
        use_hub_at(made.endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        yield made
