"""The state of each run's publication: whether MLflow shows the run as it ended."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from tracker.domain import TERMINAL, PartKind, PublicationState, RunState
from tracker.store.parts import seconds
from tracker.tables import PartRow, PublicationRow, RunRow, TensorRow

NOW = func.clock_timestamp()
_LONGEST_WAIT = 300  # seconds between two wake-ups
_HOLD = 120  # seconds after which another worker may publish


@dataclass(frozen=True, kw_only=True)
class MlflowIds:
    """The ids that MLflow has given to a run and its experiment."""

    experiment_id: str
    run_id: str


def mlflow_ids(session: Session, run_id: UUID) -> MlflowIds | None:
    """The ids of the run in MLflow; None until it is there."""
    row = session.get_one(PublicationRow, run_id, populate_existing=True)
    if row.mlflow_run_id is None or row.mlflow_experiment_id is None:
        return None
    return MlflowIds(experiment_id=row.mlflow_experiment_id, run_id=row.mlflow_run_id)


def set_mlflow_ids(
    session: Session, run_id: UUID, ids: MlflowIds, *, instead_of: str | None = None
) -> MlflowIds:
    """Record the ids, unless others than `instead_of` are recorded. Returns the recorded ids."""
    session.execute(
        update(PublicationRow)
        .where(
            PublicationRow.run_id == run_id,
            PublicationRow.mlflow_run_id.is_not_distinct_from(instead_of),
        )
        .values(mlflow_experiment_id=ids.experiment_id, mlflow_run_id=ids.run_id)
    )
    return mlflow_ids(session, run_id) or ids


def due(session: Session, limit: int = 20) -> list[UUID]:
    """Ended runs to publish now, marked as requested; each is due again after a growing delay."""
    wait = func.least(func.power(2, func.least(PublicationRow.attempts, 9)), _LONGEST_WAIT)
    waiting = (
        select(PublicationRow.run_id)
        .join(RunRow, RunRow.id == PublicationRow.run_id)
        .where(
            PublicationRow.state == PublicationState.PENDING,
            PublicationRow.due_at.is_not(None),  # the condition of the partial index
            PublicationRow.due_at <= NOW,
            _free(),
            RunRow.state.in_(list(TERMINAL)),
        )
        .order_by(PublicationRow.due_at)
        .limit(limit)
        .with_for_update(of=PublicationRow, skip_locked=True)
        .cte("waiting")
    )
    taken = session.scalars(
        update(PublicationRow)
        .where(PublicationRow.run_id == waiting.c.run_id)
        .values(attempts=PublicationRow.attempts + 1, due_at=NOW + wait * seconds(1))
        .returning(PublicationRow.run_id)
    )
    return list(taken)


def pending(session: Session) -> list[UUID]:
    """Ended runs that MLflow does not yet show as ended."""
    query = (
        select(PublicationRow.run_id)
        .join(RunRow, RunRow.id == PublicationRow.run_id)
        .where(PublicationRow.state == PublicationState.PENDING, RunRow.state.in_(list(TERMINAL)))
    )
    return list(session.scalars(query))


def _free() -> ColumnElement[bool]:
    return or_(PublicationRow.held_until.is_(None), PublicationRow.held_until < NOW)


class HoldLost(Exception):
    """Another worker holds the publication, or it has to be repeated."""


def take(session: Session, run_id: UUID) -> datetime | None:
    """Hold the publication of an ended run, so that no two workers publish it at once.

    Returns the time at which the hold expires, which identifies it; None if the run has not ended,
    is published, or is held by another worker.
    """
    ended = exists().where(RunRow.id == run_id, RunRow.state.in_(list(TERMINAL)))
    pending = PublicationRow.state == PublicationState.PENDING
    return _hold(session, run_id, and_(pending, _free(), ended))


def renew(session: Session, run_id: UUID, hold: datetime) -> datetime:
    """Extend the hold. Returns its new expiry time. Raises `HoldLost`."""
    renewed = _hold(session, run_id, PublicationRow.held_until == hold)
    if renewed is None:
        raise HoldLost(run_id)
    return renewed


def _hold(session: Session, run_id: UUID, condition: ColumnElement[bool]) -> datetime | None:
    return session.scalars(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id, condition)
        .values(held_until=NOW + seconds(_HOLD))
        .returning(PublicationRow.held_until)
    ).one_or_none()


def published(session: Session, run_id: UUID, hold: datetime) -> None:
    """Record that MLflow shows the run as it ended. Raises `HoldLost`."""
    done = session.scalars(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id, PublicationRow.held_until == hold)
        .values(state=PublicationState.PUBLISHED, published_at=NOW, error=None, held_until=None)
        .returning(PublicationRow.run_id)
    ).one_or_none()
    if done is None:
        raise HoldLost(run_id)


def not_published(session: Session, run_id: UUID, hold: datetime, error: str) -> None:
    """Release the publication with the error, to be retried, even if it was refused before."""
    due = func.coalesce(PublicationRow.due_at, NOW)
    session.execute(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id, PublicationRow.held_until == hold)
        .values(error=error, held_until=None, due_at=due)
    )


def refused(session: Session, run_id: UUID, hold: datetime, error: str) -> None:
    """Release it with the error; no worker retries it until somebody fixes the problem."""
    session.execute(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id, PublicationRow.held_until == hold)
        .values(error=error, held_until=None, due_at=None)
    )


def reopen(session: Session, run_id: UUID) -> None:
    """Publish the run again: its files in MLflow may have been overwritten."""
    session.execute(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id)
        .values(
            state=PublicationState.PENDING,
            held_until=None,
            due_at=NOW,
            attempts=0,
            published_at=None,
        )
    )


def checkable(session: Session) -> list[UUID]:
    """Published runs with tensors, or that ended without success in finishing; newest first."""
    finishing = exists().where(PartRow.run_id == RunRow.id, PartRow.kind == PartKind.FINISH)
    query = (
        select(PublicationRow.run_id)
        .join(RunRow, RunRow.id == PublicationRow.run_id)
        .where(
            PublicationRow.state == PublicationState.PUBLISHED,
            or_(
                exists().where(TensorRow.run_id == RunRow.id),
                and_(RunRow.state != RunState.SUCCEEDED, finishing),
            ),
        )
        .order_by(RunRow.finished_at.desc(), RunRow.id)
    )
    return list(session.scalars(query))


def show_anew(session: Session, runs: Collection[UUID] | Select[UUID]) -> None:
    """Publish the runs again after a change of their studies or of the name of their model."""
    tried = or_(PublicationRow.due_at.is_not(None), PublicationRow.error.is_not(None))
    of_runs = PublicationRow.run_id.in_(runs)
    ordered = select(PublicationRow.run_id).where(of_runs).order_by(PublicationRow.run_id)
    session.execute(ordered.with_for_update())  # always in the same order, against deadlocks
    session.execute(
        update(PublicationRow)
        .where(of_runs)
        .values(
            state=PublicationState.PENDING,
            due_at=case((tried, NOW)),
        )
    )
