"""The one folder of files that our MLflow lists, reads, writes and deletes.

MLflow takes an address of files with a request, and finds others in what is stored: of experiments,
runs, models. All lead to the same registry, so that what it does not hold nobody reaches.
"""

import os
from pathlib import Path
from typing import Any, NoReturn

from flask import Response, request
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.protos.service_pb2 import CreateExperiment
from mlflow.server import handlers
from mlflow.server.constants import ARTIFACTS_DESTINATION_ENV_VAR
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository


class OwnArtifacts(LocalArtifactRepository):
    """The server's own folder. Reading and writing keep to it by themselves, with links as well."""

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        if artifact_uri != os.environ[ARTIFACTS_DESTINATION_ENV_VAR]:
            _refuse(artifact_uri)
        super().__init__(artifact_uri, tracking_uri, registry_uri)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        folder = self._check(path)
        if not folder.is_dir():
            return []
        return [
            FileInfo(
                str(each.relative_to(self._root)),
                each.is_dir(),
                None if each.is_dir() else each.stat().st_size,
            )
            for each in sorted(folder.iterdir())
            if not each.is_symlink() and not each.name.startswith(".artifact.uploading.")
        ]

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._check(artifact_path)
        super().delete_artifacts(artifact_path)  # type: ignore[no-untyped-call]

    @property
    def _root(self) -> Path:
        return Path(self.artifact_dir).resolve()

    def _check(self, path: str | None) -> Path:
        """The place in the folder; refused where it is outside or a link is on the way."""
        wanted = Path(os.path.normpath(self._root / (path or "")))
        if not wanted.is_relative_to(self._root) or wanted.resolve() != wanted:
            _refuse(path or "")
        return wanted


def keep_to_own() -> None:
    """From here on no other place of files is read or written in this process."""
    registry: Any = artifact_repository_registry._artifact_repository_registry
    for scheme in tuple(registry.get_registered_artifact_repositories()):
        registry.register(scheme, _foreign)
    for scheme in ("", "file"):
        registry.register(scheme, OwnArtifacts)


def refuse_other_locations() -> Any:
    """Before a request: an experiment is made with no place of files that somebody names.

    It is read as MLflow reads it, since JSON has several ways to name a field.
    """
    if not request.path.endswith("/experiments/create"):
        return None
    reading: Any = handlers
    try:
        asked = reading._get_request_message(CreateExperiment())
    except MlflowException:  # the route itself reads it again, and says what is wrong
        return None
    if asked.artifact_location:
        refusal = MlflowException.invalid_parameter_value(
            "An experiment's files are kept by this server: give no artifact_location."
        )
        return Response(refusal.serialize_as_json(), 400, mimetype="application/json")
    return None


def _foreign(artifact_uri: str, **_given: object) -> NoReturn:
    _refuse(artifact_uri)


def _refuse(place: str) -> NoReturn:
    raise MlflowException(
        f"{place!r} is no file among this server's own, which are all that it reads and writes.",
        error_code=PERMISSION_DENIED,
    )
