"""A model, a distribution and runs to test the tracker with."""

import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from tiny_llama import save_tiny_llama

from analyses.prompts import distributions
from analyses.prompts.distributions import Distribution, DistributionSpec
from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, Priority, Run, RunRequest
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.queueing import models, submission
from tracker.queueing.submission import Submitted
from tracker.run_logs import logs, run_log
from tracker.store import distributions as distribution_store
from tracker.store import models as model_store
from tracker.store import runs as run_store
from tracker.working.context import WorkerContext
from tracker.working.loaded_models import LoadedModels

from . import wide_tensors
from .traps import trap as trap
from .worker_process import working

MakeRun = Callable[..., Run]
Submit = Callable[..., Submitted]


@pytest.fixture
def model(sessions: Sessions) -> Model:
    with transaction(sessions) as session:
        return model_store.add_model(
            session,
            name="tiny",
            ref="/models/tiny",
            revision="0" * 40,
            dtype="float32",
            fingerprint="f" * 64,
            family="llama",
            n_layers=2,
            n_heads=4,
            n_kv_heads=2,
            d_model=32,
            d_head=8,
            d_vocab=100,
        )


@pytest.fixture(scope="session")
def distribution() -> Distribution:
    return distributions.build(DistributionSpec(size=8))


@pytest.fixture
def distribution_id(sessions: Sessions, distribution: Distribution) -> int:
    with transaction(sessions) as session:
        return distribution_store.add_distribution(session, distribution)


@pytest.fixture
def make_run(sessions: Sessions, model: Model, distribution_id: int) -> MakeRun:
    """Queues a run of eight prompts in two parts; keywords replace what it is queued with."""

    def make(**changes: Any) -> Run:
        asked: dict[str, Any] = {
            "fingerprint": uuid4().hex,
            "bounds": [(0, 4), (4, 8)],
            "priority": Priority.NORMAL,
            "analysis": "attribution",
            "analysis_version": 1,
            "engine_version": 1,
            "params": {"batch_size": 4},
            "model_id": model.id,
            "distribution_id": distribution_id,
            "seed": 0,
            "n_prompts": 8,
            "created_by": "ada",
        }
        with transaction(sessions) as session:
            run = run_store.insert_run(session, **asked | changes)
        assert run is not None
        return run

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random llama with a byte-level tokenizer, as safetensors."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_llama(folder, seed=0)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def tiny(sessions: Sessions, model_folder: Path, home: Home) -> Model:
    """The small llama, added and proved."""
    return models.add_model(
        str(model_folder), name="tiny", dtype="float32", home=home, roots=(), sessions=sessions
    )


@pytest.fixture
def submit(sessions: Sessions, home: Home, tiny: Model) -> Submit:
    """Submits attribution of the small llama over eight prompts; keywords change the request."""

    def submit(
        *,
        analysis: str = "attribution",
        model: str = "tiny",
        distribution: DistributionSpec | None = None,
        params: Mapping[str, Any] | None = None,
        created_by: str = "ada",
        prompts_per_part: int = 4,
        nonce: str | None = None,
        **more: Any,
    ) -> Submitted:
        request = RunRequest(
            analysis=analysis,
            model=model,
            recipe=distribution or DistributionSpec(size=8),
            parameters={"batch_size": 2} if params is None else params,
            **more,
        )
        return submission.submit(
            request,
            created_by=created_by,
            sessions=sessions,
            home=home,
            prompts_per_part=prompts_per_part,
            nonce=nonce,
        )

    return submit


@pytest.fixture
def bench(sessions: Sessions, home: Home, mlflow_uri: str) -> Iterator[WorkerContext]:
    """A worker's bench."""
    aside = db.beside(sessions)
    yield WorkerContext(
        name="w1",
        sessions=sessions,
        aside=aside,
        artifacts=ArtifactStore(mlflow=mlflow_client(mlflow_uri), spool=Spool(home.spool)),
        home=home,
        roots=(),
        device="cpu",
        app_url="http://app",
    )
    db.close(aside)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=4000k,mode=0700", "none", str(folder))
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk needs root, and leave to mount it")
    yield folder
    subprocess.run(("umount", str(folder)), check=True)


@pytest.fixture
def other(bench: WorkerContext, tmp_path: Path) -> WorkerContext:
    """A worker of another host."""
    home = Home(tmp_path / "other home")
    artifacts = ArtifactStore(mlflow=bench.artifacts.mlflow, spool=Spool(home.spool))
    return replace(
        bench, name="w2", home=home, artifacts=artifacts, avoid={}, loaded=LoadedModels()
    )


@pytest.fixture
def wide() -> Iterator[None]:
    """The analysis `wide`."""
    with wide_tensors.registered():
        yield


@pytest.fixture
def as_in_a_worker(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Our own events and the root logger as a worker sets them up."""
    caplog.set_level(logging.INFO)
    logs.configure()
    yield
    structlog.reset_defaults()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are written twenty times a second."""
    monkeypatch.setattr(run_log, "_EVERY", 0.05)


@pytest.fixture
def environment(
    sessions: Sessions, database_url: str, broker_url: str, mlflow_uri: str, home: Home
) -> dict[str, str]:
    """What commands and workers are told of the servers of the tests."""
    return {
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": broker_url,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "HEADBOOK_HOME": str(home.root),
    }


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """A worker process; what it logs."""
    log = tmp_path / "worker.log"
    with working(environment, log):
        yield log
