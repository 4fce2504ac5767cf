"""Studies: runs that people look at together."""

from collections.abc import Collection
from uuid import UUID, uuid4

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.domain import PublicationState
from tracker.tables import PublicationRow, StudyRow, StudyRunRow


def add_to_study(session: Session, *, name: str, created_by: str, runs: Collection[UUID]) -> UUID:
    """Put runs into the study of that name, which is made if it is new."""
    statement = insert(StudyRow).values(id=uuid4(), name=name, created_by=created_by)
    study_id = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[StudyRow.name], set_={"name": statement.excluded.name}
        ).returning(StudyRow.id)
    ).one()
    rows = [{"study_id": study_id, "run_id": each} for each in runs]
    session.execute(insert(StudyRunRow).on_conflict_do_nothing(), rows)
    _show_anew(session, runs)
    return study_id


def _show_anew(session: Session, runs: Collection[UUID]) -> None:
    """Publish the runs again that were: MLflow shows the studies of a run."""
    tried = or_(PublicationRow.due_at.is_not(None), PublicationRow.error.is_not(None))
    theirs = PublicationRow.run_id.in_(list(runs))
    ordered = select(PublicationRow.run_id).where(theirs).order_by(PublicationRow.run_id)
    session.execute(ordered.with_for_update())  # in one order, so that none waits for another
    session.execute(
        update(PublicationRow)
        .where(theirs)
        .values(
            state=PublicationState.PENDING,
            due_at=case((tried, func.clock_timestamp())),
        )
    )
