"""The MLflow run of a run: created once, restored or created again if somebody has deleted it.

Only MLflow runs whose ids are in Postgres are ours. Every user of MLflow can put our tag on a run
of theirs, with params that cannot be changed any more, so no run is adopted because of its tag.
"""

from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from tracker.database.db import Sessions, patiently
from tracker.publishing import mlflow_errors, mlflow_places, publication
from tracker.publishing.mlflow_places import ForeignPlace
from tracker.results import RunDetail
from tracker.store import publications
from tracker.store.publications import MlflowIds

_DELETED = "deleted"


def ensured(sessions: Sessions, client: MlflowClient, run: RunDetail) -> MlflowIds:
    """The run's ids in MLflow, recorded as soon as it is created there.

    If two workers create one at the same time, both continue with the one that was recorded first.
    """
    ids = ensure_run(client, run)
    before = run.line.mlflow_run_id
    if ids.run_id == before:
        return ids
    return patiently(
        sessions,
        lambda session: publications.set_mlflow_ids(session, run.line.id, ids, instead_of=before),
    )


def ensure_run(client: MlflowClient, run: RunDetail) -> MlflowIds:
    """The recorded MLflow run of a run, else a new one; raises `ForeignPlace`.

    A deleted one is restored, or created again if MLflow has deleted it for good.
    """
    with mlflow_errors.translated():
        line = run.line
        if line.mlflow_run_id and line.mlflow_experiment_id:
            known = MlflowIds(experiment_id=line.mlflow_experiment_id, run_id=line.mlflow_run_id)
            if _exists(client, known):
                return known
        experiment = _experiment(client, line.analysis)
        mlflow_places.check_experiment(client, experiment)
        made = client.create_run(
            experiment.experiment_id,
            start_time=publication.millis(line.started_at or line.created_at),
            tags=publication.tags_of(run),
        )
        ids = MlflowIds(experiment_id=str(experiment.experiment_id), run_id=made.info.run_id)
        mlflow_places.check_run(client, ids)
        return ids


def _exists(client: MlflowClient, ids: MlflowIds) -> bool:
    """Whether the run exists below the server's root; it is restored first if it was deleted."""
    try:
        mlflow_places.check_run(client, ids)
        if client.get_run(ids.run_id).info.lifecycle_stage != _DELETED:
            return True
        if client.get_experiment(ids.experiment_id).lifecycle_stage == _DELETED:
            client.restore_experiment(ids.experiment_id)
        if client.get_run(ids.run_id).info.lifecycle_stage == _DELETED:
            client.restore_run(ids.run_id)
    except (mlflow_errors.GoneFromMlflow, ForeignPlace):
        return False
    except MlflowException as error:
        if mlflow_errors.is_gone(error):
            return False
        raise
    return True


def remove_doubles(client: MlflowClient, ids: MlflowIds, run_id: UUID) -> None:
    """Delete other MLflow runs that have the tag of the same run.

    A worker that was killed or frozen may have created one, or a server that was frozen may answer
    a request late, when nobody waits for it any more. So this is the last step.
    """
    with mlflow_errors.translated():
        for run in client.search_runs([ids.experiment_id], f"tags.`headbook.run` = '{run_id}'"):
            if run.info.run_id != ids.run_id:
                client.delete_run(run.info.run_id)


def _experiment(client: MlflowClient, name: str) -> Experiment:
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == _DELETED:  # by a person; new runs still belong to it
            client.restore_experiment(known.experiment_id)
        return known
    try:
        return client.get_experiment(client.create_experiment(name))
    except MlflowException:  # another worker has just created it
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return known
