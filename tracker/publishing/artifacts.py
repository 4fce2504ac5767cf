"""The store of runs' tensors: files in MLflow, and copies of them in the spool of this worker.

The hash in Postgres decides what is right. A worker that was frozen while it finished a run may
wake up and overwrite what another has stored. Nothing prevents that, but every reader notices it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mlflow import MlflowClient

from analyses.results import NamedTensor
from tracker.errors import TrackerError
from tracker.publishing import mlflow_files, mlflow_places, tensor_format
from tracker.publishing.mlflow_errors import MlflowUnavailable
from tracker.publishing.mlflow_pause import MlflowPause
from tracker.publishing.spool import Spool
from tracker.store.publications import MlflowIds
from tracker.store.tensors import StoredTensor

_FOLDER = "tensors"


class Condition(StrEnum):
    """What a check of a tensor's file has shown."""

    INTACT = "as it was written"
    REPAIRED = "uploaded again from the spool"  # it was missing or changed
    MISSING = "missing"
    CHANGED = "changed"
    DELETED = "deleted, since the run ended without a result"

    @property
    def lost(self) -> bool:
        """Whether there is no intact copy here either."""
        return self in (Condition.MISSING, Condition.CHANGED)


class TensorChanged(TrackerError):
    def __init__(self, path: str, expected: str, actual: str) -> None:
        super().__init__(
            f"The stored file {path} is not what was written: sha256 {actual[:12]}… in place of "
            f"{expected[:12]}…. Do not use it; `headbook publish --check` repairs it where a "
            "worker has a copy, otherwise queue the run again with --force."
        )


class TensorMissing(TrackerError):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"The stored file {path} is not in MLflow. `headbook publish --check` uploads it again "
            "where a worker has a copy, otherwise queue the run again with --force."
        )


@dataclass(kw_only=True)
class ArtifactStore:
    """Writes tensors to MLflow by way of the spool, reads them back, checks and repairs them.

    Users that can wait make their requests inside `pause.after_failure()`.
    """

    mlflow: MlflowClient
    spool: Spool
    pause: MlflowPause = field(default_factory=MlflowPause)

    def put(self, ids: MlflowIds, name: str, tensor: NamedTensor) -> StoredTensor:
        """Write a tensor to the spool and to the artifacts of a run, and read it back.

        Raises `CannotKeep`, `MlflowUnavailable`, and `ForeignPlace` before anything is sent.
        """
        content = tensor_format.encoded(name, tensor)
        stored = StoredTensor(
            name=name,
            axes=tensor.axes,
            coordinates=tensor.coordinates,
            dtype=tensor.values.dtype.name,
            shape=tensor.values.shape,
            sha256=self.spool.put(content),
            size_bytes=len(content),
            mlflow_path=f"{_FOLDER}/{name}.safetensors",
        )
        self._upload(ids, stored, self.spool.folder / stored.sha256)
        return stored

    def get(self, ids: MlflowIds, stored: StoredTensor) -> NamedTensor:
        """A tensor from MLflow.

        Raises `MlflowUnavailable`, `TensorMissing`, `TensorChanged` if its bytes are not those that
        were written, and `ForeignPlace` where anybody may have written them.
        """
        mlflow_places.check_run(self.mlflow, ids)
        # A failed download does not say whether there is such a file.
        if not mlflow_files.exists(self.mlflow, ids, stored.mlflow_path):
            raise TensorMissing(stored.mlflow_path)
        with mlflow_files.downloaded(self.mlflow, ids, stored.mlflow_path) as path:
            actual = tensor_format.sha256(path)
            if actual != stored.sha256:
                raise TensorChanged(stored.mlflow_path, stored.sha256, actual)
            return tensor_format.decoded(path, stored)

    def get_copy(self, stored: StoredTensor) -> NamedTensor | None:
        """A tensor from the spool, None if it has no copy."""
        copy = self.spool.path(stored.sha256)
        return None if copy is None else tensor_format.decoded(copy, stored)

    def get_nearest(self, ids: MlflowIds, stored: StoredTensor) -> NamedTensor:
        """A tensor from the spool if it has a copy, else from MLflow, as `get` does."""
        return self.get_copy(stored) or self.get(ids, stored)

    def verify(self, ids: MlflowIds, stored: StoredTensor) -> Condition:
        """Read a tensor's file back, and upload it again from the spool if it is lost.

        Raises `MlflowUnavailable`.
        """
        condition = self._condition(ids, stored)
        copy = self.spool.path(stored.sha256) if condition.lost else None
        if copy is None:
            return condition
        mlflow_files.make_way(self.mlflow, ids, stored.mlflow_path)
        self._upload(ids, stored, copy)
        return Condition.REPAIRED

    def delete_all(self, ids: MlflowIds) -> list[str]:
        """Delete every tensor file of a run, whose tensors have no row; the paths of the files.

        Raises `MlflowUnavailable`.
        """
        return mlflow_files.delete_folder(self.mlflow, ids, _FOLDER)

    def _condition(self, ids: MlflowIds, stored: StoredTensor) -> Condition:
        if not mlflow_files.exists(self.mlflow, ids, stored.mlflow_path):
            return Condition.MISSING
        with mlflow_files.downloaded(self.mlflow, ids, stored.mlflow_path) as path:
            intact = tensor_format.sha256(path) == stored.sha256
        return Condition.INTACT if intact else Condition.CHANGED

    def _upload(self, ids: MlflowIds, stored: StoredTensor, copy: Path) -> None:
        """Upload a file and read it back; raises as `put` does."""
        mlflow_places.check_run(self.mlflow, ids)
        mlflow_files.upload(self.mlflow, ids, stored.mlflow_path, copy)
        try:
            self.get(ids, stored)
        except (TensorChanged, TensorMissing) as error:
            raise MlflowUnavailable(error) from error
