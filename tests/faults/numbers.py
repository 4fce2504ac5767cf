"""What runs have found, bit for bit, to compare with what they find without faults."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from tracker.database.db import Sessions, transaction

_SCORES = """
SELECT kind, layer, index, metric, site, condition, x, n, skipped,
       encode(float8send(mean), 'hex') AS mean, encode(float8send(sem), 'hex') AS sem,
       encode(float8send(ci_low), 'hex') AS ci_low, encode(float8send(ci_high), 'hex') AS ci_high,
       encode(array_send(values), 'hex') AS values
FROM headbook.score JOIN headbook.component ON component.id = component_id
WHERE run_id = :run"""
_TENSORS = "SELECT name, dtype, shape, axes, sha256 FROM headbook.tensor WHERE run_id = :run"
_DONE = """
SELECT id, fingerprint FROM headbook.run
WHERE state = 'succeeded' AND fingerprint = ANY(:known)"""


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


def unlike(session: Session, references: References) -> Iterator[tuple[UUID, str]]:
    """Which runs have found something else than the references, and what."""
    for run_id, fingerprint in session.execute(text(_DONE), {"known": list(references)}).all():
        for said in _numbers(session, run_id).unlike(references[fingerprint]):
            yield run_id, said


def _numbers(session: Session, run_id: UUID) -> Numbers:
    scores = session.execute(text(_SCORES), {"run": run_id}).all()
    tensors = session.execute(text(_TENSORS), {"run": run_id}).all()
    return Numbers(
        scores={tuple(row[:7]): tuple(row[7:]) for row in scores},
        tensors={row.name: (row.dtype, *row.shape, *row.axes, row.sha256) for row in tensors},
    )
