"""Files among the artifacts of an MLflow run: uploaded, listed, downloaded, deleted."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tracker.publishing import mlflow_errors
from tracker.store.publications import MlflowIds


def exists(client: MlflowClient, ids: MlflowIds, path: str) -> bool:
    """Whether there is a file at that path; raises `MlflowUnavailable`."""
    folder = str(PurePosixPath(path).parent)
    with mlflow_errors.translated():
        entries = client.list_artifacts(ids.run_id, folder)
        return path in [entry.path for entry in entries if not entry.is_dir]


def upload(client: MlflowClient, ids: MlflowIds, path: str, file: Path) -> None:
    """Store a file of this host at that path; raises `MlflowUnavailable`."""
    to = PurePosixPath(path)
    with mlflow_errors.translated(), _temporary_folder() as folder:
        named = folder / to.name
        named.symlink_to(file.absolute())
        client.log_artifact(ids.run_id, str(named), str(to.parent))


@contextmanager
def downloaded(client: MlflowClient, ids: MlflowIds, path: str) -> Iterator[Path]:
    """Inside the block, a copy of the file on this host; raises `MlflowUnavailable`."""
    with mlflow_errors.translated(), _temporary_folder() as folder:
        yield Path(client.download_artifacts(ids.run_id, path, str(folder)))


def make_way(client: MlflowClient, ids: MlflowIds, path: str) -> None:
    """Delete a folder that stands where a file belongs, or a file where its folder does."""
    parent = str(PurePosixPath(path).parent)
    with mlflow_errors.translated():
        top = {entry.path: entry.is_dir for entry in client.list_artifacts(ids.run_id)}
        beside = {entry.path: entry.is_dir for entry in client.list_artifacts(ids.run_id, parent)}
        if top.get(parent) is False:
            _repository(client, ids).delete_artifacts(parent)
        elif beside.get(path):
            _repository(client, ids).delete_artifacts(path)


def delete_folder(client: MlflowClient, ids: MlflowIds, folder: str) -> list[str]:
    """Delete a folder and all in it; the paths of what was there. Raises `MlflowUnavailable`."""
    with mlflow_errors.translated():
        paths = [entry.path for entry in client.list_artifacts(ids.run_id, folder)]
        if paths:
            _repository(client, ids).delete_artifacts(folder)
    return paths


def _repository(client: MlflowClient, ids: MlflowIds) -> Any:
    uri = client.get_run(ids.run_id).info.artifact_uri
    return get_artifact_repository(uri, client.tracking_uri)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        yield Path(folder)
