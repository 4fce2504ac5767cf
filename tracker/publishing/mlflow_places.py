"""Where MLflow keeps files: of a run they are read and written at the server's own place alone.

Whoever may use MLflow can make an experiment under any name and say where its files are: a folder
of the worker's host, another server, the files of another run. MLflow's client would go there.
"""

from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Experiment

from tracker.publishing import mlflow_errors
from tracker.publishing.mlflow_errors import RefusedByMlflow
from tracker.secrets.urls import without_credentials
from tracker.store.publications import MlflowIds

_SERVED = "mlflow-artifacts:"  # through the server itself
# Where a server that serves no files may have been told to keep them; a path of a host is none.
_SCHEMES = frozenset({"mlflow-artifacts", "s3", "gs", "r2", "wasbs", "abfss"})
_FIRST = "0"  # the experiment that a server makes itself, at its place, when it first starts


class ForeignPlace(RefusedByMlflow):
    """An experiment or a run that somebody else has made, at a place of theirs."""

    def __init__(self, what: str, uri: str) -> None:
        super().__init__(
            RuntimeError(
                f"{what} keeps files at {without_credentials(uri)[:300]}, which is no place of the "
                "server of MLFLOW_TRACKING_URI, so nothing is read or written there. Rename the "
                "experiment in MLflow: another is made under its name"
            )
        )


def check_experiment(client: MlflowClient, experiment: Experiment) -> None:
    """Raise `ForeignPlace` unless files of its runs are kept where the server keeps its own."""
    if not _is_own(client, experiment.artifact_location, f"/{experiment.experiment_id}"):
        raise ForeignPlace(f"The experiment {experiment.name!r}", experiment.artifact_location)


def check_run(client: MlflowClient, ids: MlflowIds) -> None:
    """Raise `ForeignPlace` unless the files of a run are kept where the server keeps its own."""
    with mlflow_errors.translated():
        uri = client.get_run(ids.run_id).info.artifact_uri
        if not _is_own(client, uri, f"/{ids.experiment_id}/{ids.run_id}/artifacts"):
            raise ForeignPlace(f"The run {ids.run_id} of experiment {ids.experiment_id}", uri)


def _is_own(client: MlflowClient, uri: str, within: str) -> bool:
    root = uri.removesuffix(within)
    return uri.endswith(within) and (root == _SERVED or root == _configured(client))


def _configured(client: MlflowClient) -> str | None:
    """What the server's administrator has configured, as far as it is no path."""
    uri = client.get_experiment(_FIRST).artifact_location
    return uri.removesuffix(f"/{_FIRST}") if urlsplit(uri).scheme in _SCHEMES else None
