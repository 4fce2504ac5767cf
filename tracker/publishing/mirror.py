"""Publishes runs that have ended in MLflow: verifies their tensors, then logs their results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from analyses import registry
from analyses.errors import Refused
from analyses.registry import Analysis
from analyses.results import NamedTensor
from analyses.shown import in_lines
from tracker import results
from tracker.database.db import Sessions, patiently, transaction
from tracker.domain import RunState
from tracker.errors import TrackerError
from tracker.publishing import figures, mlflow_runs, publication
from tracker.publishing.artifacts import ArtifactStore, Condition
from tracker.publishing.figures import Pictures
from tracker.publishing.mlflow_errors import RefusedByMlflow
from tracker.results import RunDetail, ScoreLine
from tracker.secrets.urls import without_credentials
from tracker.store import publications, tensors
from tracker.store.publications import HoldLost, MlflowIds
from tracker.store.tensors import StoredTensor

Lost = tuple[StoredTensor, Condition]


class TensorsLost(TrackerError):
    """Tensor files of a run are missing or changed, and there is no copy here."""

    def __init__(self, run: RunDetail, lost: Sequence[Lost]) -> None:
        message = ", ".join(f"{tensor.mlflow_path} is {condition}" for tensor, condition in lost)
        copies = ", ".join(f"spool/{tensor.sha256[:12]}…" for tensor, _ in lost)
        super().__init__(
            f"Files of run {run.line.id} are lost: {message}. The worker {_writer(run)} may have a "
            f"copy in its HEADBOOK_HOME: {copies}. Run `headbook publish --check {run.line.id}` "
            "there; without a copy, queue the run again with --force."
        )


def _writer(run: RunDetail) -> str:
    """The worker that finished the run."""
    ended = [event for event in run.events if event.part is not None and event.worker]
    return next((str(e.worker) for e in reversed(ended) if e.event == "succeeded"), "of the run")


def publish(
    sessions: Sessions, artifacts: ArtifactStore, run_id: UUID, *, app_url: str | None
) -> bool:
    """Publish a run in MLflow; False if it has not ended, or another worker is publishing it.

    An error is recorded and raised: usually `MlflowUnavailable`, or `TensorsLost` once everything
    else is published. Any worker retries these. After `RefusedByMlflow` only a person retries, and
    the spools keep their copies.
    """
    with transaction(sessions) as session:
        hold = publications.take(session, run_id)
    if hold is None:
        return False
    publishing = _Publishing(sessions, artifacts, run_id, hold)
    try:
        publishing.publish(app_url)
    except HoldLost:
        return False
    except Exception as error:
        publishing.give_back(error)
        raise
    return True


@dataclass
class _Publishing:
    """The publication of one run, which this worker holds meanwhile."""

    sessions: Sessions
    artifacts: ArtifactStore
    run_id: UUID
    hold: datetime

    def publish(self, app_url: str | None) -> None:
        with transaction(self.sessions) as session:
            detail = results.run_detail(session, self.run_id)
            lines = results.scores(session, self.run_id)
            stored = tensors.tensors(session, self.run_id)
        client = self.artifacts.mlflow
        ids = mlflow_runs.ensured(self.sessions, client, detail)
        lost = list(self._lost(ids, stored))
        intact = [tensor for tensor in stored if tensor not in [gone for gone, _ in lost]]
        drawn = _pictures(self.artifacts, ids, detail, lines, intact)
        remarks = [f"No plots/{name}.png: {why}" for name, why in drawn.failed.items()]
        remarks += [f"Do not use {tensor.mlflow_path}: it is {how}." for tensor, how in lost]
        publication.publish(
            client,
            ids,
            detail,
            lines,
            pictures=drawn.drawn,
            remarks=remarks,
            app_url=app_url,
        )
        mlflow_runs.remove_doubles(client, ids, self.run_id)
        if lost:
            raise TensorsLost(detail, lost)
        patiently(self.sessions, self._done)

    def _lost(self, ids: MlflowIds, stored: Sequence[StoredTensor]) -> Iterator[Lost]:
        """Those that could not be repaired; each check may take long, so the hold is renewed."""
        for tensor in stored:
            condition = self.artifacts.verify(ids, tensor)
            if condition.lost:
                yield tensor, condition
            self.hold = patiently(
                self.sessions, lambda session: publications.renew(session, self.run_id, self.hold)
            )

    def _done(self, session: Session) -> None:
        publications.published(session, self.run_id, self.hold)

    def give_back(self, error: Exception) -> None:
        message = in_lines(without_credentials(str(error)))[:1000]
        final = isinstance(error, RefusedByMlflow)
        how = publications.refused if final else publications.not_published
        patiently(self.sessions, lambda session: how(session, self.run_id, self.hold, message))


def check(
    sessions: Sessions, artifacts: ArtifactStore, run_id: UUID, *, app_url: str | None
) -> Iterator[tuple[str, Condition]]:
    """Verify the tensor files of a published run, and repair them from the spool; their conditions.

    Files of a run that ended without a result, while it was finishing, are deleted. A run that
    MLflow has lost, or whose tensors are lost here, has to be published again: until then no worker
    deletes its copies. Raises `MlflowUnavailable` meanwhile, and `TensorsLost` at the end.
    """
    with transaction(sessions) as session:
        detail = results.run_detail(session, run_id)
        stored = tensors.tensors(session, run_id)
    ids = mlflow_runs.ensured(sessions, artifacts.mlflow, detail)
    made_again = ids.run_id != detail.line.mlflow_run_id
    if made_again:
        patiently(sessions, lambda session: publications.reopen(session, run_id))
    mlflow_runs.remove_doubles(artifacts.mlflow, ids, run_id)
    if detail.line.state is not RunState.SUCCEEDED:
        for path in artifacts.delete_all(ids):
            yield path, Condition.DELETED
    lost = []
    for tensor in stored:
        condition = artifacts.verify(ids, tensor)
        if condition.lost:
            lost.append((tensor, condition))
        yield tensor.mlflow_path, condition
    if lost:
        patiently(sessions, lambda session: publications.reopen(session, run_id))
        raise TensorsLost(detail, lost)
    if made_again:
        publish(sessions, artifacts, run_id, app_url=app_url)


def _installed(analysis: str) -> Analysis | None:
    try:
        return registry.find(analysis)
    except Refused:
        return None


def _pictures(
    artifacts: ArtifactStore,
    ids: MlflowIds,
    run: RunDetail,
    lines: Sequence[ScoreLine],
    stored: Sequence[StoredTensor],
) -> Pictures:
    """The map of the heads and, if the analysis is installed here, its own pictures."""
    installed = _installed(run.line.analysis)
    plots = installed.plots if installed else {}
    units = installed.units if installed else {}

    def fetch(tensor: StoredTensor) -> NamedTensor:
        return artifacts.get_nearest(ids, tensor)

    data = figures.findings(run, lines, stored, units=units, fetch=fetch)
    return figures.pictures(run, data, plots if lines else {})
