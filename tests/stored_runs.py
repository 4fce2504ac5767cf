"""What Postgres and MLflow hold of runs, as tests look at it."""

import hashlib
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update

from tracker import reports
from tracker.db import Sessions, transaction
from tracker.reports import RunDetail
from tracker.store import publications, tensors
from tracker.store.publications import MlflowIds
from tracker.store.tensors import StoredTensor
from tracker.tables import RunRow, ScoreRow
from tracker.workbench import Workbench

Vectors = dict[tuple[int, str, float], NDArray[np.float32]]


def detail(sessions: Sessions, run_id: UUID) -> RunDetail:
    with transaction(sessions) as session:
        return reports.run_detail(session, run_id)


def vectors(sessions: Sessions, run_id: UUID) -> Vectors:
    with transaction(sessions) as session:
        rows = session.scalars(select(ScoreRow).where(ScoreRow.run_id == run_id))
        return {
            (row.component_id, row.metric, row.x): np.asarray(row.values, dtype=np.float32)
            for row in rows
            if row.values is not None
        }


def mlflow_ids(sessions: Sessions, run_id: UUID) -> MlflowIds:
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, run_id)
    assert ids is not None
    return ids


def stored_tensors(sessions: Sessions, run_id: UUID) -> list[StoredTensor]:
    with transaction(sessions) as session:
        return tensors.tensors(session, run_id)


def content(bench: Workbench, ids: MlflowIds, path: str) -> bytes:
    return Path(bench.mlflow.download_artifacts(ids.run_id, path)).read_bytes()


def whole(bench: Workbench, sessions: Sessions, run_id: UUID) -> bool:
    """Whether every file of the run has the hash of its row."""
    ids = mlflow_ids(sessions, run_id)
    return all(
        hashlib.sha256(content(bench, ids, each.mlflow_path)).hexdigest() == each.sha256
        for each in stored_tensors(sessions, run_id)
    )


def reopen(sessions: Sessions, run_id: UUID) -> None:
    with transaction(sessions) as session:
        publications.reopen(session, run_id)


def due_now(sessions: Sessions, run_id: UUID) -> None:
    """Let a run be claimed that was told to wait a while."""
    with transaction(sessions) as session:
        now = func.clock_timestamp()
        session.execute(update(RunRow).where(RunRow.id == run_id).values(not_before=now))
