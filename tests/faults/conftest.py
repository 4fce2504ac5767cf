"""Where the figures of the fault suite are written down."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

Record = Callable[..., None]


@pytest.fixture(scope="session")
def record() -> Record:
    """Write figures down: a row of the matrix, the fault, what it showed, numbers by name."""
    folder = os.environ.get("HEADBOOK_TEST_FIGURES")

    def write(row: int, fault: str, figure: str, **numbers: float | int) -> None:
        line = json.dumps({"row": row, "fault": fault, "figure": figure, **numbers})
        if folder:
            with (Path(folder) / "figures.jsonl").open("a") as file:
                file.write(line + "\n")

    return write


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is done: a little within `make test`, more by `make faults RUNS=… SEED=…`."""

    runs: int
    seed: int
    long: bool


@pytest.fixture(scope="session")
def scale() -> Scale:
    runs = os.environ.get("HEADBOOK_TEST_RUNS", "")
    seed = int(os.environ.get("HEADBOOK_TEST_SEED") or 7)
    return Scale(runs=int(runs or 0), seed=seed, long=bool(runs))
