"""Where MLflow stores files: those of a run are read and written below the server's root only.

Every user of MLflow can create an experiment with any name and any artifact location: a folder on
the worker's host, another server, the files of another run. MLflow's client would follow it.
"""

from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Experiment

from tracker.publishing import mlflow_errors
from tracker.publishing.mlflow_errors import RefusedByMlflow
from tracker.secrets.urls import without_credentials
from tracker.store.publications import MlflowIds

_SERVED = "mlflow-artifacts:"  # through the server itself
# Artifact roots that a server without artifact proxying may be configured with; never local paths.
_SCHEMES = frozenset({"mlflow-artifacts", "s3", "gs", "r2", "wasbs", "abfss"})
_FIRST = "0"  # the experiment that a server creates below its own root when it first starts


class ForeignPlace(RefusedByMlflow):
    """An experiment or run that another user has created, with an artifact location of theirs."""

    def __init__(self, what: str, uri: str) -> None:
        super().__init__(
            RuntimeError(
                f"{what} keeps files at {without_credentials(uri)[:300]}, which is not below the "
                "artifact root of the server at MLFLOW_TRACKING_URI, so nothing is read or written "
                "there. Rename the experiment in MLflow: a new one is created under its name"
            )
        )


def check_experiment(client: MlflowClient, experiment: Experiment) -> None:
    """Raise `ForeignPlace` unless files of its runs are below the server's artifact root."""
    if not _is_own(client, experiment.artifact_location, f"/{experiment.experiment_id}"):
        raise ForeignPlace(f"The experiment {experiment.name!r}", experiment.artifact_location)


def check_run(client: MlflowClient, ids: MlflowIds) -> None:
    """Raise `ForeignPlace` unless the files of a run are below the server's artifact root."""
    with mlflow_errors.translated():
        uri = client.get_run(ids.run_id).info.artifact_uri
        if not _is_own(client, uri, f"/{ids.experiment_id}/{ids.run_id}/artifacts"):
            raise ForeignPlace(f"The run {ids.run_id} of experiment {ids.experiment_id}", uri)


def _is_own(client: MlflowClient, uri: str, within: str) -> bool:
    root = uri.removesuffix(within)
    return uri.endswith(within) and (root == _SERVED or root == _configured(client))


def _configured(client: MlflowClient) -> str | None:
    """The artifact root that the server is configured with, unless it is a local path."""
    uri = client.get_experiment(_FIRST).artifact_location
    return uri.removesuffix(f"/{_FIRST}") if urlsplit(uri).scheme in _SCHEMES else None
