"""What MLflow holds of runs: the bytes of their tensors, and how they ended."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from sqlalchemy import text

from tracker.database.db import Sessions, transaction

_TENSORS = """
SELECT run_id, mlflow_run_id, name, mlflow_path, sha256 FROM headbook.tensor
LEFT JOIN headbook.publication USING (run_id) ORDER BY run_id, name"""
_MIRRORS = """
SELECT run_id, mlflow_run_id, run.state, publication.state = 'published' AS published
FROM headbook.publication JOIN headbook.run ON run.id = run_id"""
_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


def changed_tensors(sessions: Sessions, mlflow: MlflowClient) -> Iterator[tuple[UUID, str]]:
    """Tensors whose file is not there, or has another hash than its row says."""
    with transaction(sessions) as session:
        rows = session.execute(text(_TENSORS)).all()
    for row in rows:
        found = _hash(mlflow, row.mlflow_run_id, row.mlflow_path)
        if found != row.sha256:
            said = f"the file of tensor {row.name} has sha256 {found}, not {row.sha256}"
            yield row.run_id, said


def doubled(sessions: Sessions, mlflow: MlflowClient) -> Iterator[tuple[UUID, str]]:
    """Runs of which MLflow has more than one."""
    times = Counter(each.data.tags["headbook.run"] for each in _all(mlflow))
    with transaction(sessions) as session:
        rows = session.execute(text(_MIRRORS)).all()
    for row in rows:
        if times[str(row.run_id)] > 1:
            yield row.run_id, f"MLflow has {times[str(row.run_id)]} runs of it"


def wrong_ends(sessions: Sessions, mlflow: MlflowClient) -> Iterator[tuple[UUID, str]]:
    """Published runs that MLflow shows otherwise than they ended."""
    with transaction(sessions) as session:
        rows = session.execute(text(_MIRRORS)).all()
    # After the rows: a run that is published in between is not among the published ones.
    status = {each.info.run_id: each.info.status for each in _all(mlflow)}
    for row in rows:
        shown = status.get(row.mlflow_run_id, "missing")
        if row.published and shown != _STATUS.get(row.state):
            yield row.run_id, f"the run is {row.state}, MLflow shows it as {shown}"


def _hash(mlflow: MlflowClient, mlflow_run_id: str | None, path: str) -> str:
    if mlflow_run_id is None:
        return "none: it is in no MLflow run"
    with tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        try:
            content = Path(mlflow.download_artifacts(mlflow_run_id, path, folder)).read_bytes()
        except Exception as missing:
            return f"none: {missing}"
    return hashlib.sha256(content).hexdigest()


def _all(mlflow: MlflowClient) -> list[MlflowRun]:
    experiments = [each.experiment_id for each in mlflow.search_experiments()]
    found: list[MlflowRun] = []
    token = ""
    while True:
        page = mlflow.search_runs(
            experiments, "tags.`headbook.run` != ''", max_results=1000, page_token=token or None
        )
        found += page
        token = page.token
        if not token:
            return found
