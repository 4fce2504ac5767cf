"""Tensors as files: kept in the worker's spool, uploaded to MLflow, read back, uploaded again.

The hash in Postgres decides what is right. A worker that was frozen while it finished a run may
wake up and overwrite what another has stored; nothing keeps it from doing so, everything sees it.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from analyses.results import NamedTensor
from tracker.errors import TrackerError
from tracker.publishing import mlflow_errors, mlflow_places
from tracker.publishing.mlflow_errors import MlflowUnavailable
from tracker.publishing.spool import Spool
from tracker.store.publications import MlflowIds
from tracker.store.tensors import StoredTensor

_FOLDER = "tensors"


class Condition(StrEnum):
    """What a check has found of a tensor's file."""

    INTACT = "as it was written"
    REPAIRED = "uploaded again from the spool"  # it was missing or changed
    MISSING = "missing"
    CHANGED = "changed"
    DELETED = "deleted, since the run ended without a result"

    @property
    def lost(self) -> bool:
        """Whether no copy is at hand either."""
        return self in (Condition.MISSING, Condition.CHANGED)


class TensorChanged(TrackerError):
    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(
            f"The stored file {path} is not what was written: sha256 {found[:12]}… in place of "
            f"{expected[:12]}…. Do not use it; `headbook publish --check` puts it right where a "
            "worker has a copy, otherwise queue the run again with --force."
        )


class TensorMissing(TrackerError):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"The stored file {path} is not in MLflow. `headbook publish --check` puts it there "
            "where a worker has a copy, otherwise queue the run again with --force."
        )


def encoded(name: str, tensor: NamedTensor) -> bytes:
    """A tensor as a safetensors file: the same bytes for the same tensor."""
    # Under one key, since safetensors writes several in any order.
    described = json.dumps({"axes": tensor.axes, "coordinates": dict(tensor.coordinates)})
    values = np.ascontiguousarray(tensor.values)
    return bytes(save_safetensors({name: values}, metadata={"headbook": described}))


def store_tensor(
    client: MlflowClient, ids: MlflowIds, name: str, tensor: NamedTensor, *, spool: Spool
) -> StoredTensor:
    """Put a tensor into the spool and among the run's artifacts, and read it back.

    Raises `CannotKeep`, `MlflowUnavailable`.
    """
    content = encoded(name, tensor)
    stored = StoredTensor(
        name=name,
        axes=tensor.axes,
        coordinates=tensor.coordinates,
        dtype=tensor.values.dtype.name,
        shape=tensor.values.shape,
        sha256=spool.put(content),
        size_bytes=len(content),
        mlflow_path=f"{_FOLDER}/{name}.safetensors",
    )
    _upload(client, ids, stored, spool.folder / stored.sha256)
    return stored


def fetch_tensor(client: MlflowClient, ids: MlflowIds, stored: StoredTensor) -> NamedTensor:
    """A stored tensor.

    Raises `TensorMissing`, `TensorChanged` if its bytes are not those that were written, and
    `ForeignPlace` where they may be anybody's.
    """
    mlflow_places.check_run(client, ids)
    # Of a file that is not there a download says no more than that it could not be had.
    if not _is_there(client, ids, stored):
        raise TensorMissing(stored.mlflow_path)
    content = _download(client, ids, stored)
    found = hashlib.sha256(content).hexdigest()
    if found != stored.sha256:
        raise TensorChanged(stored.mlflow_path, stored.sha256, found)
    return _decoded(content, stored)


def kept(stored: StoredTensor, spool: Spool) -> NamedTensor | None:
    """A stored tensor from the spool, where it is there."""
    copy = spool.path(stored.sha256)
    return None if copy is None else _decoded(copy.read_bytes(), stored)


def at_hand(
    client: MlflowClient, ids: MlflowIds, stored: StoredTensor, spool: Spool
) -> NamedTensor:
    """A stored tensor, from the spool where it is there, else as `fetch_tensor` gives it."""
    return kept(stored, spool) or fetch_tensor(client, ids, stored)


def checked(
    client: MlflowClient, ids: MlflowIds, tensors: Sequence[StoredTensor], spool: Spool
) -> Iterator[tuple[StoredTensor, Condition]]:
    """Read every file back, and upload again what is missing or changed from the spool.

    Raises `MlflowUnavailable`.
    """
    for stored in tensors:
        condition = _condition(client, ids, stored)
        copy = spool.path(stored.sha256) if condition.lost else None
        if copy is not None:
            _make_way(client, ids, stored)
            _upload(client, ids, stored, copy)
            condition = Condition.REPAIRED
        yield stored, condition


def delete_all(client: MlflowClient, ids: MlflowIds) -> list[str]:
    """Delete every tensor file of a run, whose tensors have no row; the paths of the files.

    Raises `MlflowUnavailable`.
    """
    with mlflow_errors.translated():
        there = [each.path for each in client.list_artifacts(ids.run_id, _FOLDER)]
        if there:
            _store(client, ids).delete_artifacts(_FOLDER)
    return there


def _condition(client: MlflowClient, ids: MlflowIds, stored: StoredTensor) -> Condition:
    if not _is_there(client, ids, stored):
        return Condition.MISSING
    found = hashlib.sha256(_download(client, ids, stored)).hexdigest()
    return Condition.INTACT if found == stored.sha256 else Condition.CHANGED


def _upload(client: MlflowClient, ids: MlflowIds, stored: StoredTensor, copy: Path) -> None:
    """Store a file under the tensor's name and read it back.

    Raises `MlflowUnavailable`, and `ForeignPlace` before anything is sent.
    """
    mlflow_places.check_run(client, ids)
    path = PurePosixPath(stored.mlflow_path)
    with mlflow_errors.translated(), tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        named = Path(folder) / path.name
        named.symlink_to(copy.absolute())
        client.log_artifact(ids.run_id, str(named), str(path.parent))
    try:
        fetch_tensor(client, ids, stored)
    except (TensorChanged, TensorMissing) as error:
        raise MlflowUnavailable(error) from error


def _make_way(client: MlflowClient, ids: MlflowIds, stored: StoredTensor) -> None:
    """Delete a folder that stands where the file belongs, or a file where its folder does."""
    path = PurePosixPath(stored.mlflow_path)
    with mlflow_errors.translated():
        top = {each.path: each.is_dir for each in client.list_artifacts(ids.run_id)}
        there = {each.path: each.is_dir for each in client.list_artifacts(ids.run_id, _FOLDER)}
        if top.get(str(path.parent)) is False:
            _store(client, ids).delete_artifacts(str(path.parent))
        elif there.get(str(path)):
            _store(client, ids).delete_artifacts(str(path))


def _store(client: MlflowClient, ids: MlflowIds) -> Any:
    uri = client.get_run(ids.run_id).info.artifact_uri
    return get_artifact_repository(uri, client.tracking_uri)


def _is_there(client: MlflowClient, ids: MlflowIds, stored: StoredTensor) -> bool:
    folder = str(PurePosixPath(stored.mlflow_path).parent)
    with mlflow_errors.translated():
        return stored.mlflow_path in [
            each.path for each in client.list_artifacts(ids.run_id, folder) if not each.is_dir
        ]


def _download(client: MlflowClient, ids: MlflowIds, stored: StoredTensor) -> bytes:
    with mlflow_errors.translated(), tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        path = client.download_artifacts(ids.run_id, stored.mlflow_path, folder)
        return Path(path).read_bytes()


def _decoded(content: bytes, stored: StoredTensor) -> NamedTensor:
    return NamedTensor(load_safetensors(content)[stored.name], stored.axes, stored.coordinates)
