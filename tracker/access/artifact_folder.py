"""The one folder whose files the embedded MLflow lists, reads, writes and deletes.

MLflow takes artifact URIs from requests and from its database (of experiments, runs, models). All
are resolved by one registry of repositories, so one that is not registered there is out of reach.
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


class ArtifactFolder(LocalArtifactRepository):
    """The server's artifact folder. MLflow itself keeps reads and writes inside, links included."""

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
                str(path.relative_to(self._root)),
                path.is_dir(),
                None if path.is_dir() else path.stat().st_size,
            )
            for path in sorted(folder.iterdir())
            if not path.is_symlink() and not path.name.startswith(".artifact.uploading.")
        ]

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._check(artifact_path)
        super().delete_artifacts(artifact_path)  # type: ignore[no-untyped-call]

    @property
    def _root(self) -> Path:
        return Path(self.artifact_dir).resolve()

    def _check(self, path: str | None) -> Path:
        """The path inside the folder; refused if it leads outside or through a link."""
        wanted = Path(os.path.normpath(self._root / (path or "")))
        if not wanted.is_relative_to(self._root) or wanted.resolve() != wanted:
            _refuse(path or "")
        return wanted


def use_for_all_uris() -> None:
    """From here on this process reads and writes artifacts in this folder only."""
    registry: Any = artifact_repository_registry._artifact_repository_registry
    for scheme in tuple(registry.get_registered_artifact_repositories()):
        registry.register(scheme, _unsupported)
    for scheme in ("", "file"):
        registry.register(scheme, ArtifactFolder)


def refuse_other_locations() -> Any:
    """Before a request: refuse to create an experiment with an artifact location of its own.

    The request is parsed by MLflow's own parser, as JSON has several spellings of a field.
    """
    if not request.path.endswith("/experiments/create"):
        return None
    reading: Any = handlers
    try:
        asked = reading._get_request_message(CreateExperiment())
    except MlflowException:  # the route parses it again and answers with the error
        return None
    if asked.artifact_location:
        refusal = MlflowException.invalid_parameter_value(
            "artifact_location is not supported: this server stores all artifacts itself."
        )
        return Response(refusal.serialize_as_json(), 400, mimetype="application/json")
    return None


def _unsupported(artifact_uri: str, **_given: object) -> NoReturn:
    _refuse(artifact_uri)


def _refuse(place: str) -> NoReturn:
    raise MlflowException(
        f"{place!r} is outside this server's artifact folder.",
        error_code=PERMISSION_DENIED,
    )
