"""What can happen to runs and their files in MLflow."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tracker.home.home import Home
from tracker.store.publications import MlflowIds
from tracker.store.tensors import StoredTensor


def overwrite(mlflow: MlflowClient, ids: MlflowIds, stored: StoredTensor, folder: Path) -> None:
    file = folder / Path(stored.mlflow_path).name
    file.write_bytes(b"other bits")
    mlflow.log_artifact(ids.run_id, str(file), "tensors")


def flip_a_bit(mlflow: MlflowClient, ids: MlflowIds, stored: StoredTensor, folder: Path) -> None:
    file = Path(mlflow.download_artifacts(ids.run_id, stored.mlflow_path, str(folder)))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    mlflow.log_artifact(ids.run_id, str(file), "tensors")


def delete(mlflow: MlflowClient, ids: MlflowIds, stored: StoredTensor, _folder: Path) -> None:
    uri = mlflow.get_run(ids.run_id).info.artifact_uri
    get_artifact_repository(uri, mlflow.tracking_uri).delete_artifacts(stored.mlflow_path)


_OF_RUNS = ("tags", "params", "metrics", "latest_metrics", "runs")


def collect(mlflow: MlflowClient, ids: MlflowIds, home: Home) -> None:
    """Delete a run for good, as a person does who deletes it and then says `mlflow gc`."""
    mlflow.delete_run(ids.run_id)
    with closing(sqlite3.connect(home.root / "mlflow.db")) as database, database:
        for table in _OF_RUNS:
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [ids.run_id])
    shutil.rmtree(home.artifacts / ids.experiment_id / ids.run_id)


Harm = Callable[[MlflowClient, MlflowIds, StoredTensor, Path], None]
HARMS = pytest.mark.parametrize("harm", [overwrite, delete])


class FreezingClient(MlflowClient):
    """The client of a worker that is frozen as it begins to upload a file; meanwhile `then`."""

    def __init__(self, uri: str, file: str, then: Callable[[], None]) -> None:
        super().__init__(uri)
        self.file, self.then = file, then

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        if Path(local_path).name == self.file:
            self.then()
        super().log_artifact(run_id, local_path, artifact_path)


def store_of(mlflow: MlflowClient, ids: MlflowIds) -> Any:
    uri = mlflow.get_run(ids.run_id).info.artifact_uri
    return get_artifact_repository(uri, mlflow.tracking_uri)


def upload(mlflow: MlflowClient, ids: MlflowIds, path: str, content: bytes, folder: Path) -> None:
    """Put bytes at a path of a run."""
    file = folder / Path(path).name
    file.write_bytes(content)
    within = str(Path(path).parent)
    mlflow.log_artifact(ids.run_id, str(file), None if within == "." else within)


def flip(
    mlflow: MlflowClient, ids: MlflowIds, path: str, where: Callable[[int], int], folder: Path
) -> None:
    """Change one bit of a file, of the byte that `where` gives for its size."""
    content = bytearray(Path(mlflow.download_artifacts(ids.run_id, path, str(folder))).read_bytes())
    content[where(len(content))] ^= 1
    upload(mlflow, ids, path, bytes(content), folder)
