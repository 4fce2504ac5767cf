"""A world for each module of tests, and where its figures are written down."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from analyses import registry
from tracker.database.db import Sessions

from . import figures
from .scene import Scene, staged
from .world import PLUGIN, World

Record = Callable[..., None]
_MANY = 1000  # runs


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is done: a little within `make test`, more by `make faults RUNS=… SEED=…`.

    With fewer than a thousand runs, each fault is tried a few times only: a look, no figures.
    """

    runs: int
    seed: int
    long: bool
    figures: Path | None  # the folder that figures are written to

    def keep(self, name: str, content: str) -> None:
        """Write a file of figures, where they are wanted."""
        if self.figures is not None:
            (self.figures / name).write_text(content)


@pytest.fixture(scope="session")
def scale() -> Scale:
    runs = os.environ.get("HEADBOOK_TEST_RUNS", "")
    seed = int(os.environ.get("HEADBOOK_TEST_SEED") or 7)
    folder = os.environ.get("HEADBOOK_TEST_FIGURES")
    return Scale(
        runs=int(runs or 0),
        seed=seed,
        long=int(runs or 0) >= _MANY,
        figures=Path(folder) if folder else None,
    )


@pytest.fixture(scope="session")
def servers() -> Iterator[World]:
    """Servers and models, started once; what modules do with them is cleared between."""
    made = World()
    yield made
    made.close()


@pytest.fixture
def scene(
    sessions: Sessions, database_url: str, mlflow_uri: str, tmp_path: Path
) -> Iterator[Scene]:
    """Where processes crash, on the test worker's own database."""
    with staged(
        sessions, database_url=database_url, mlflow_uri=mlflow_uri, folder=tmp_path
    ) as scene:
        yield scene


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[None]:
    """The analyses of the plugin are registered in this process too, to be submitted."""
    registry.all_analyses()
    sys.path.insert(0, str(PLUGIN))
    module = import_module("fault_analyses")
    for name in module.NAMES:
        registry._ANALYSES[name] = module.REGISTERED[name]
    yield
    for name in module.NAMES:
        del registry._ANALYSES[name]
    sys.path.remove(str(PLUGIN))


@pytest.fixture(scope="module")
def world(servers: World, misbehaving: None) -> Iterator[World]:
    """A stack without runs, workers or dispatchers; a module's tests share what they start."""
    yield servers
    servers.clear()


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test breaks is whole again for the next."""
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").heal()


@pytest.fixture(scope="session")
def record(scale: Scale) -> Record:
    """Write figures down for docs/reliability.md: a row of the matrix, the fault, what it showed.

    `record(7, "FLUSHALL under load", "all 40 runs ended", lost=0)`; numbers by name.
    """

    def write(row: int, fault: str, figure: str, **numbers: float | int) -> None:
        if scale.figures is not None:
            figures.add(scale.figures, {"row": row, "fault": fault, "figure": figure, **numbers})

    return write
