"""Whether anything was lost, doubled, stale or wrong: every invariant, over the real tables.

The tables are asked by the queries of `invariants`; numbers are compared bit for bit with those of
a run without faults, and the bytes of tensors with their hashes.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from tracker.db import Sessions, transaction

from .audit import NotAudited
from .invariants import ALWAYS, AT_REST, PUBLISHED, Harm, Invariant

_SCORES = """
SELECT kind, layer, index, metric, site, condition, x, n, skipped,
       encode(float8send(mean), 'hex') AS mean, encode(float8send(sem), 'hex') AS sem,
       encode(float8send(ci_low), 'hex') AS ci_low, encode(float8send(ci_high), 'hex') AS ci_high,
       encode(array_send(values), 'hex') AS values
FROM headbook.score JOIN headbook.component ON component.id = component_id
WHERE run_id = :run"""
_TENSORS = "SELECT name, dtype, shape, axes, sha256 FROM headbook.tensor WHERE run_id = :run"
_STORED = """
SELECT run_id, mlflow_run_id, name, mlflow_path, sha256 FROM headbook.tensor
LEFT JOIN headbook.publication USING (run_id) ORDER BY run_id, name"""
_MIRRORS = """
SELECT run_id, mlflow_run_id, run.state, publication.state = 'published' AS published
FROM headbook.publication JOIN headbook.run ON run.id = run_id"""
_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}

AS_WITHOUT_FAULTS = "a run has the numbers that it has without faults"
STORED = "a stored tensor is what was written"
MIRRORED_ONCE = "MLflow has a run once, and as it ended"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An invariant that does not hold of a run."""

    invariant: str
    harm: Harm
    run_id: UUID
    found: str

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.found} [{self.invariant}]"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a run has found, bit for bit: by score and by tensor."""

    scores: Mapping[tuple[object, ...], tuple[object, ...]]
    tensors: Mapping[str, tuple[object, ...]]

    def unlike(self, other: "Numbers") -> Iterator[str]:
        """Where the other has found something else."""
        for kind in ("scores", "tensors"):
            mine, its = getattr(self, kind), getattr(other, kind)
            for key in sorted(mine.keys() | its.keys(), key=repr):
                if mine.get(key) != its.get(key):
                    yield f"{kind} {key}: {mine.get(key, 'none')} in place of {its.get(key)}"


References = Mapping[str, Numbers]  # what runs find without faults, by fingerprint


def numbers(sessions: Sessions, run_id: UUID) -> Numbers:
    """What a run has found; of a run without faults it is the reference of its fingerprint."""
    with transaction(sessions) as session:
        return _numbers(session, run_id)


def violations(
    sessions: Sessions,
    *,
    references: References | None = None,
    mlflow: MlflowClient | None = None,
    live_is_lost: bool = True,
    unpublished_is_lost: bool = True,
) -> list[str]:
    """What breaks an invariant, in sentences; empty when all of them hold. See `broken`."""
    return [
        str(each)
        for each in broken(
            sessions,
            references=references,
            mlflow=mlflow,
            live_is_lost=live_is_lost,
            unpublished_is_lost=unpublished_is_lost,
        )
    ]


def broken(
    sessions: Sessions,
    *,
    references: References | None = None,
    mlflow: MlflowClient | None = None,
    live_is_lost: bool = True,
    unpublished_is_lost: bool = True,
) -> list[Violation]:
    """What breaks an invariant. Raises `NotAudited` where `audit.install` was not called.

    `references`: succeeded runs of these fingerprints must have found the same, bit for bit.
    `mlflow`: the bytes of tensors, and the mirrors of published runs, are looked at as well.
    `live_is_lost`: all should have ended by now; `unpublished_is_lost`: MLflow should show it.
    """
    asked = [*ALWAYS, *(AT_REST if live_is_lost else ())]
    asked += PUBLISHED if unpublished_is_lost else ()
    with transaction(sessions) as session:
        if session.scalar(text("SELECT to_regclass('faults.written')")) is None:
            raise NotAudited
        found = [each for invariant in asked for each in _breaking(session, invariant)]
        found += _unlike_references(session, references or {})
        stored, shown = session.execute(text(_STORED)).all(), session.execute(text(_MIRRORS)).all()
    if mlflow is not None:
        found += [*_changed_tensors(stored, mlflow), *_wrong_mirrors(shown, mlflow)]
    return found


def _breaking(session: Session, invariant: Invariant) -> Iterator[Violation]:
    for run_id, sentence in session.execute(text(invariant.broken_by)):
        yield Violation(
            invariant=invariant.name, harm=invariant.harm, run_id=run_id, found=sentence
        )


def _numbers(session: Session, run_id: UUID) -> Numbers:
    scores = session.execute(text(_SCORES), {"run": run_id}).all()
    tensors = session.execute(text(_TENSORS), {"run": run_id}).all()
    return Numbers(
        scores={tuple(row[:7]): tuple(row[7:]) for row in scores},
        tensors={row.name: (row.dtype, *row.shape, *row.axes, row.sha256) for row in tensors},
    )


def _unlike_references(session: Session, references: References) -> Iterator[Violation]:
    done = text(
        "SELECT id, fingerprint FROM headbook.run"
        " WHERE state = 'succeeded' AND fingerprint = ANY(:known)"
    )
    for run_id, fingerprint in session.execute(done, {"known": list(references)}).all():
        for unlike in _numbers(session, run_id).unlike(references[fingerprint]):
            yield Violation(
                invariant=AS_WITHOUT_FAULTS, harm=Harm.WRONG, run_id=run_id, found=unlike
            )


def _changed_tensors(rows: Sequence[Row[Any]], mlflow: MlflowClient) -> Iterator[Violation]:
    for row in rows:
        found = _hash(mlflow, row.mlflow_run_id, row.mlflow_path)
        if found != row.sha256:
            yield Violation(
                invariant=STORED,
                harm=Harm.WRONG,
                run_id=row.run_id,
                found=f"the file of tensor {row.name} has sha256 {found}, not {row.sha256}",
            )


def _hash(mlflow: MlflowClient, mlflow_run_id: str | None, path: str) -> str:
    if mlflow_run_id is None:
        return "none: it is in no MLflow run"
    with tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        try:
            content = Path(mlflow.download_artifacts(mlflow_run_id, path, folder)).read_bytes()
        except Exception as missing:
            return f"none: {missing}"
    return hashlib.sha256(content).hexdigest()


def _wrong_mirrors(rows: Sequence[Row[Any]], mlflow: MlflowClient) -> Iterator[Violation]:
    mirrors = _mirrors(mlflow)
    times = Counter(each.data.tags["headbook.run"] for each in mirrors)
    status = {each.info.run_id: each.info.status for each in mirrors}
    for row in rows:
        count, is_ = times[str(row.run_id)], status.get(row.mlflow_run_id, "missing")
        if count > 1 or (row.published and is_ != _STATUS.get(row.state)):
            yield Violation(
                invariant=MIRRORED_ONCE,
                harm=Harm.DOUBLED if count > 1 else Harm.WRONG,
                run_id=row.run_id,
                found=f"MLflow has {count} runs of it, the published one is {is_}, "
                f"the run {row.state}",
            )


def _mirrors(mlflow: MlflowClient) -> list[MlflowRun]:
    experiments: Sequence[str] = [each.experiment_id for each in mlflow.search_experiments()]
    found: list[MlflowRun] = []
    token = None
    while True:
        page = mlflow.search_runs(
            experiments, "tags.`headbook.run` != ''", max_results=1000, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found
