"""Whether anything was lost, doubled, stale or wrong: every invariant, over the real tables."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mlflow import MlflowClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from tracker.database.db import Sessions, transaction

from . import mirrors
from .audit import NotAudited
from .invariants import ALWAYS, AT_REST, PUBLISHED, Harm
from .numbers import Numbers, References, numbers, unlike

__all__ = ["Numbers", "References", "Violation", "broken", "numbers", "violations"]

AS_WITHOUT_FAULTS = "a run has the numbers that it has without faults"
STORED = "a stored tensor is what was written"
MIRRORED_ONCE = "MLflow has a run once"
MIRRORED = "MLflow shows a run as it ended"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An invariant that does not hold of a run."""

    invariant: str
    harm: Harm
    run_id: UUID
    found: str

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.found} [{self.invariant}]"


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
    with transaction(sessions) as session:
        if session.scalar(text("SELECT to_regclass('faults.written')")) is None:
            raise NotAudited
        found = list(_in_tables(session, live=live_is_lost, unpublished=unpublished_is_lost))
        found += _named(AS_WITHOUT_FAULTS, Harm.WRONG, unlike(session, references or {}))
    if mlflow is not None:
        found += _named(STORED, Harm.WRONG, mirrors.changed_tensors(sessions, mlflow))
        found += _named(MIRRORED_ONCE, Harm.DOUBLED, mirrors.doubled(sessions, mlflow))
        found += _named(MIRRORED, Harm.WRONG, mirrors.wrong_ends(sessions, mlflow))
    return found


def _in_tables(session: Session, *, live: bool, unpublished: bool) -> Iterator[Violation]:
    for each in (*ALWAYS, *(AT_REST if live else ()), *(PUBLISHED if unpublished else ())):
        yield from _named(each.name, each.harm, session.execute(text(each.broken_by)).all())


def _named(name: str, harm: Harm, rows: Iterable[Sequence[Any]]) -> Iterator[Violation]:
    for run_id, sentence in rows:
        yield Violation(invariant=name, harm=harm, run_id=run_id, found=sentence)
