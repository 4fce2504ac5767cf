"""The results of the runs that a run needs, in the form in which its analysis reads them."""

from collections.abc import Mapping
from uuid import UUID

from structlog import get_logger

from analyses.results import NamedTensor, Result
from tracker.database.db import Sessions, patiently, transaction
from tracker.errors import TrackerError
from tracker.publishing.artifacts import ArtifactStore, TensorChanged, TensorMissing
from tracker.publishing.mlflow_errors import GoneFromMlflow
from tracker.publishing.mlflow_places import ForeignPlace
from tracker.store import publications, runs, scores, tensors
from tracker.store.publications import MlflowIds
from tracker.store.tensors import StoredTensor
from tracker.working.heartbeat import Beat

log = get_logger(__name__)


class InputGone(TrackerError):
    """A tensor that a run needs is neither in MLflow nor in this worker's spool."""

    def __init__(self, run_id: UUID, path: str, how: str) -> None:
        super().__init__(
            f"The run needs {path} of run {run_id}, which is {how}, and this worker has no copy. "
            f"Run `headbook publish --check {str(run_id)[:8]}` where a worker has one, or queue "
            "that run again with --force; then queue this one again."
        )


_LOST: tuple[tuple[type[TrackerError], str], ...] = (
    (GoneFromMlflow, "gone from MLflow"),
    (TensorMissing, "gone from MLflow"),
    (TensorChanged, "not what was written"),
    (ForeignPlace, "at a location in MLflow that is not the server's own"),
)


def load(
    sessions: Sessions, artifacts: ArtifactStore, run_id: UUID, beat: Beat
) -> Mapping[str, Result]:
    """The result of each input of a run, by the name that the run uses for it.

    Raises `MlflowUnavailable`, `InputGone`.
    """
    with transaction(sessions) as session:
        needed = runs.inputs(session, run_id)
    reader = _Reader(sessions, artifacts, beat)
    return {name: reader.result(run.id) for name, run in needed.items()}


class _Reader:
    """Reads results of runs; reports a heartbeat before each tensor."""

    def __init__(self, sessions: Sessions, artifacts: ArtifactStore, beat: Beat) -> None:
        self.sessions, self.artifacts, self.beat = sessions, artifacts, beat

    def result(self, run_id: UUID) -> Result:
        with transaction(self.sessions) as session:
            vectors, means = scores.vectors_and_means(session, run_id)
            stored = tensors.tensors(session, run_id)
            ids = publications.mlflow_ids(session, run_id)
        loaded = {}
        for tensor in stored:
            self.beat(0)
            assert ids is not None  # a run with tensors is in MLflow
            loaded[tensor.name] = self._tensor(run_id, ids, tensor)
        return Result(scores=vectors, means=means, tensors=loaded)

    def _tensor(self, run_id: UUID, ids: MlflowIds, stored: StoredTensor) -> NamedTensor:
        """From MLflow; if it is lost there, the run is to be published again by who has a copy."""
        try:
            return self.artifacts.get(ids, stored)
        except tuple(kind for kind, _ in _LOST) as error:
            patiently(self.sessions, lambda session: publications.reopen(session, run_id))
            copy = self.artifacts.get_copy(stored)
            if copy is None:
                how = next(how for kind, how in _LOST if isinstance(error, kind))
                raise InputGone(run_id, stored.mlflow_path, how) from error
            log.warning("a tensor is read from the spool", run_id=str(run_id), error=str(error))
            return copy
