"""The state of each run's mirror in MLflow."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.orm import Session

from tracker.domain import TERMINAL, PublicationState
from tracker.store.parts import seconds
from tracker.tables import PublicationRow, RunRow

NOW = func.clock_timestamp()
_LONGEST_WAIT = 300  # seconds between two rings
_LONGEST_TRY = 120  # seconds after which another worker may publish


@dataclass(frozen=True, kw_only=True)
class MlflowIds:
    """MLflow's own names for a run."""

    experiment_id: str
    run_id: str


def mlflow_ids(session: Session, run_id: UUID) -> MlflowIds | None:
    """Where the run is in MLflow; None while it is not."""
    row = session.get_one(PublicationRow, run_id, populate_existing=True)
    if row.mlflow_run_id is None or row.mlflow_experiment_id is None:
        return None
    return MlflowIds(experiment_id=row.mlflow_experiment_id, run_id=row.mlflow_run_id)


def set_mlflow_ids(session: Session, run_id: UUID, ids: MlflowIds) -> None:
    session.execute(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id)
        .values(mlflow_experiment_id=ids.experiment_id, mlflow_run_id=ids.run_id)
    )


def due(session: Session, limit: int = 20) -> list[UUID]:
    """Ended runs to publish now. Each ring puts the next one further off."""
    wait = func.least(func.power(2, func.least(PublicationRow.attempts, 9)), _LONGEST_WAIT)
    waiting = (
        select(PublicationRow.run_id)
        .join(RunRow, RunRow.id == PublicationRow.run_id)
        .where(
            PublicationRow.state == PublicationState.PENDING,
            PublicationRow.due_at <= NOW,
            _free(),
            RunRow.state.in_(list(TERMINAL)),
        )
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
    """Ended runs that MLflow does not show as ended yet."""
    query = (
        select(PublicationRow.run_id)
        .join(RunRow, RunRow.id == PublicationRow.run_id)
        .where(PublicationRow.state == PublicationState.PENDING, RunRow.state.in_(list(TERMINAL)))
    )
    return list(session.scalars(query))


def _free() -> ColumnElement[bool]:
    return or_(PublicationRow.held_until.is_(None), PublicationRow.held_until < NOW)


def take(session: Session, run_id: UUID) -> bool:
    """Hold an ended run's publication, so that two workers never make two MLflow runs of it."""
    ended = exists().where(RunRow.id == run_id, RunRow.state.in_(list(TERMINAL)))
    mine = session.scalars(
        update(PublicationRow)
        .where(
            PublicationRow.run_id == run_id,
            PublicationRow.state == PublicationState.PENDING,
            _free(),
            ended,
        )
        .values(held_until=NOW + seconds(_LONGEST_TRY))
        .returning(PublicationRow.run_id)
    ).one_or_none()
    return mine is not None


def published(session: Session, run_id: UUID) -> None:
    """MLflow shows it all."""
    session.execute(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id)
        .values(state=PublicationState.PUBLISHED, published_at=NOW, error=None, held_until=None)
    )


def not_published(session: Session, run_id: UUID, error: str) -> None:
    """Give the publication back, with the reason."""
    session.execute(
        update(PublicationRow)
        .where(PublicationRow.run_id == run_id)
        .values(error=error, held_until=None)
    )
