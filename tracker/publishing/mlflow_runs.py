"""The MLflow run of a run: made once, restored or made again where a person has deleted it.

Only an id that Postgres has is ours. Whoever may use MLflow can give a run of theirs the tag of
ours, with params that nobody can change any more, so none is taken over for its tag.
"""

from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from tracker.database.db import Sessions, patiently
from tracker.publishing import mlflow_errors, mlflow_places, publication
from tracker.publishing.mlflow_places import ForeignPlace
from tracker.reports import RunDetail
from tracker.store import publications
from tracker.store.publications import MlflowIds

_DELETED = "deleted"


def ensured(sessions: Sessions, client: MlflowClient, run: RunDetail) -> MlflowIds:
    """Where the run is in MLflow, recorded as soon as it is made there.

    Of two workers that make one at once, both go on with the one that was recorded first.
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

    One that a person has deleted is restored, or made again where MLflow has collected it.
    """
    with mlflow_errors.translated():
        line = run.line
        if line.mlflow_run_id and line.mlflow_experiment_id:
            known = MlflowIds(experiment_id=line.mlflow_experiment_id, run_id=line.mlflow_run_id)
            if _is_there(client, known):
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


def _is_there(client: MlflowClient, ids: MlflowIds) -> bool:
    """Whether MLflow has the run at its own place, restored if it or its experiment was deleted."""
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

    A worker that was killed or frozen may have made one, or a server that was frozen does late what
    nobody waits for any more. So this comes last.
    """
    with mlflow_errors.translated():
        for each in client.search_runs([ids.experiment_id], f"tags.`headbook.run` = '{run_id}'"):
            if each.info.run_id != ids.run_id:
                client.delete_run(each.info.run_id)


def _experiment(client: MlflowClient, name: str) -> Experiment:
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == _DELETED:  # by a person; its runs go on
            client.restore_experiment(known.experiment_id)
        return known
    try:
        return client.get_experiment(client.create_experiment(name))
    except MlflowException:  # another worker made it at this moment
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return known
