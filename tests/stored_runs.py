"""What Postgres and MLflow hold of runs, as tests look at it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from analyses.bootstrap import Statistics
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.results import ScoreKey
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, PartKind, Priority, Run
from tracker.domain.run_notes import RunNotes
from tracker.results import RunDetail
from tracker.store import distributions as distribution_store
from tracker.store import endings, parts, publications, runs, tensors
from tracker.store import models as model_store
from tracker.store import scores as score_store
from tracker.store.publications import MlflowIds
from tracker.store.tensors import StoredTensor
from tracker.tables import RunRow, ScoreRow
from tracker.working.context import WorkerContext

Vectors = dict[tuple[int, str, float], NDArray[np.float32]]


def add_model(session: Session, **facts: Any) -> Model:
    """A model of three layers of four heads that nobody can load."""
    usual: dict[str, Any] = {
        "name": "tiny",
        "ref": "/models/tiny",
        "revision": "0" * 40,
        "dtype": "float32",
        "fingerprint": uuid4().hex * 2,
        "family": "llama",
        "n_layers": 3,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_model": 32,
        "d_head": 8,
        "d_vocab": 100,
    }
    return model_store.add_model(session, **usual | facts)


def add_distribution(session: Session, **fields: Any) -> int:
    """Eight prompts, unless another size is given."""
    built = distributions.build(DistributionSpec(**{"size": 8} | fields))
    return distribution_store.add_distribution(session, built)


def finished_run(
    session: Session,
    model: Model,
    distribution_id: int,
    *,
    scores: Mapping[ScoreKey, tuple[Statistics, NDArray[np.float32] | None]],
    notes: RunNotes = RunNotes(),  # noqa: B008 - frozen
    **asked: Any,
) -> Run:
    """A run of eight prompts that has succeeded with these scores."""
    usual: dict[str, Any] = {
        "fingerprint": uuid4().hex,
        "bounds": [(0, 8)],
        "priority": Priority.NORMAL,
        "analysis": "attribution",
        "analysis_version": 1,
        "engine_version": 1,
        "params": {"batch_size": 8, "prompts": "all"},
        "seed": 0,
        "n_prompts": 8,
        "created_by": "ada",
    }
    run = runs.insert_run(
        session, model_id=model.id, distribution_id=distribution_id, **usual | asked
    )
    assert run is not None
    for _ in range(2):
        claim = parts.claim(session, run.id, worker="w", lease=60)
        assert claim is not None
        if claim.kind is PartKind.PROMPTS:
            endings.finish_part(session, claim, provenance={})
    score_store.insert_scores(session, run.id, model.id, scores)
    endings.finish_run(session, claim, notes=notes)
    return run


def detail(sessions: Sessions, run_id: UUID) -> RunDetail:
    with transaction(sessions) as session:
        return results.run_detail(session, run_id)


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


def content(bench: WorkerContext, ids: MlflowIds, path: str) -> bytes:
    return Path(bench.artifacts.mlflow.download_artifacts(ids.run_id, path)).read_bytes()


def whole(bench: WorkerContext, sessions: Sessions, run_id: UUID) -> bool:
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
