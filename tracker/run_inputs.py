"""The results of the runs that a run needs, as its analysis reads them."""

from collections.abc import Mapping
from uuid import UUID

from mlflow import MlflowClient

from analyses.results import NamedTensor, Result
from tracker import tensor_files
from tracker.db import Sessions, transaction
from tracker.heartbeat import Beat
from tracker.store import publications, runs, scores, tensors


def load(
    sessions: Sessions, mlflow: MlflowClient, run_id: UUID, beat: Beat
) -> Mapping[str, Result]:
    """What each input of a run has found, by the name the run has for it; empty without inputs.

    Raises `MlflowUnavailable`, and `TensorChanged` where a file is not what was stored.
    """
    with transaction(sessions) as session:
        needed = runs.inputs(session, run_id)
    return {name: _result(sessions, mlflow, run.id, beat) for name, run in needed.items()}


def _result(sessions: Sessions, mlflow: MlflowClient, run_id: UUID, beat: Beat) -> Result:
    with transaction(sessions) as session:
        vectors, means = scores.vectors_and_means(session, run_id)
    return Result(scores=vectors, means=means, tensors=_tensors(sessions, mlflow, run_id, beat))


def _tensors(
    sessions: Sessions, mlflow: MlflowClient, run_id: UUID, beat: Beat
) -> dict[str, NamedTensor]:
    with transaction(sessions) as session:
        stored = tensors.tensors(session, run_id)
        ids = publications.mlflow_ids(session, run_id)
    fetched = {}
    for each in stored:
        beat(0)
        assert ids is not None  # a run with tensors is in MLflow
        fetched[each.name] = tensor_files.fetch_tensor(mlflow, ids, each)
    return fetched
