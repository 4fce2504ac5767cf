"""What a queue goes through, one store function at a time: runs are queued, measured, finished."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy.orm import Session

from analyses import bootstrap
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.quantities import Quantity
from analyses.results import MODEL, Measured, ScoreKey
from tracker.database.db import Sessions, transaction
from tracker.domain import PartClaim, Priority, Run
from tracker.domain.run_notes import RunNotes
from tracker.store import distributions as distribution_store
from tracker.store import endings, models, part_tensors, parts, runs, scores, tensors
from tracker.store.part_tensors import PartTensor
from tracker.store.publications import MlflowIds, published, set_mlflow_ids, take
from tracker.store.tensors import StoredTensor

PROMPTS = 4
KEY = ScoreKey(MODEL, Quantity("length"))


def facts(sessions: Sessions) -> dict[str, Any]:
    """A model and four prompts, recorded: what a run is queued with."""
    with transaction(sessions) as session:
        model = models.add_model(
            session,
            name="tiny",
            ref="/models/tiny",
            revision="0" * 40,
            dtype="float32",
            fingerprint="f" * 64,
            family="llama",
            **{"n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_model": 32, "d_head": 8},
            d_vocab=100,
        )
        prompts = distributions.build(DistributionSpec(size=PROMPTS))
        distribution = distribution_store.add_distribution(session, prompts)
    return {"model_id": model.id, "distribution_id": distribution, "n_prompts": PROMPTS}


def request(*, of: dict[str, Any], cut: int = 2, **changes: Any) -> dict[str, Any]:
    """What is recorded of a run of four prompts in parts of `cut`."""
    asked = {
        "fingerprint": uuid4().hex,
        "bounds": [(start, start + cut) for start in range(0, PROMPTS, cut)],
        "priority": Priority.NORMAL,
        "analysis": "attribution",
        "analysis_version": 1,
        "engine_version": 1,
        "params": {},
        "seed": 0,
        "created_by": "ada",
    }
    return of | asked | changes


def queue(sessions: Sessions, *, of: dict[str, Any], **changes: Any) -> Run:
    """A run that is surely new."""
    with transaction(sessions) as session:
        run = runs.insert_run(session, **request(of=of, **changes))
    assert run is not None
    return run


def claim(sessions: Sessions, run_id: UUID, worker: str = "w1", lease: float = 60) -> PartClaim:
    """A part of the run that surely waits."""
    with transaction(sessions) as session:
        claimed = parts.claim(session, run_id, worker=worker, lease=lease)
    assert claimed is not None
    return claimed


def measured(of: PartClaim) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a part finds: the numbers of its prompts."""
    return np.arange(of.start, of.stop, dtype=np.float32)


def commit_part(sessions: Sessions, claimed: PartClaim, model_id: int) -> None:
    """The transaction that ends a part of prompts."""
    with transaction(sessions) as session:
        end_part(session, claimed, model_id)


def end_part(session: Session, claimed: PartClaim, model_id: int) -> None:
    """What a worker does in that transaction."""
    parts.fence(session, claimed, lease=60)
    found = measured(claimed)
    scores.insert_part_scores(session, claimed, model_id, Measured(scores={KEY: found}))
    lengths = found[:, None].tobytes()
    part_tensors.insert_chunk(session, claimed, "lengths", 0, lengths)
    described = PartTensor(
        name="lengths",
        axes=("prompt", "one"),
        coordinates={},
        dtype="float32",
        shape=(len(found), 1),
        sha256=hashlib.sha256(lengths).hexdigest(),
    )
    part_tensors.insert_part_tensors(session, claimed, [described])
    endings.finish_part(session, claimed, provenance={"host": "here"})


def commit_run(sessions: Sessions, claimed: PartClaim, run: Run) -> None:
    """The transaction that ends a run."""
    with transaction(sessions) as session:
        end_run(session, claimed, run)


def end_run(session: Session, claimed: PartClaim, run: Run) -> None:
    """What a worker does in that transaction."""
    parts.fence(session, claimed, lease=60)
    vectors = scores.joined_part_scores(session, run)
    draws = bootstrap.draw([str(number) for number in range(run.n_prompts)], seed=run.seed)
    each = bootstrap.statistics(np.stack(list(vectors.values())), draws)
    found = dict(zip(vectors, zip(each, vectors.values(), strict=True), strict=True))
    scores.insert_scores(session, run.id, run.model_id, found)
    tensors.insert_tensors(session, run.id, [_stored(run)])
    endings.finish_run(session, claimed, notes=RunNotes())


def _stored(run: Run) -> StoredTensor:
    return StoredTensor(
        name="lengths",
        axes=("prompt", "one"),
        coordinates={},
        dtype="float32",
        shape=(run.n_prompts, 1),
        sha256="0" * 64,
        size_bytes=16,
        mlflow_path="tensors/lengths.safetensors",
    )


def publish(sessions: Sessions, run_id: UUID) -> None:
    """Note that MLflow shows a run, which it does not: for tests without MLflow."""
    with transaction(sessions) as session:
        set_mlflow_ids(session, run_id, MlflowIds(experiment_id="0", run_id=str(run_id)))
        hold = take(session, run_id)
        assert hold is not None
        published(session, run_id, hold)


def succeed(sessions: Sessions, run: Run, worker: str = "w1") -> None:
    """Do all that is left of a run."""
    for _ in range(run.n_parts):
        commit_part(sessions, claim(sessions, run.id, worker), run.model_id)
    commit_run(sessions, claim(sessions, run.id, worker), run)
    publish(sessions, run.id)
