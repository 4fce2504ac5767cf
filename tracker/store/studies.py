"""Studies: named groups of runs."""

from collections.abc import Collection
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses import names
from tracker.errors import TrackerError
from tracker.store import publications
from tracker.tables import StudyRow, StudyRunRow


class StudyLooksAlike(TrackerError):
    def __init__(self, name: str, existing: str) -> None:
        super().__init__(
            f"The study name {name!r} is too similar to {existing!r}, which already exists. Use "
            "that one, or choose another name."
        )


def add_to_study(session: Session, *, name: str, created_by: str, runs: Collection[UUID]) -> UUID:
    """Add runs to the study of that name, which is created if it is new. Returns its id.

    Raises `StudyLooksAlike` if a new name differs from an existing one only in case or width.
    """
    _check_apart(session, name)
    statement = insert(StudyRow).values(id=uuid4(), name=name, created_by=created_by)
    study_id = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[StudyRow.name], set_={"name": statement.excluded.name}
        ).returning(StudyRow.id)
    ).one()
    rows = [{"study_id": study_id, "run_id": run_id} for run_id in runs]
    session.execute(insert(StudyRunRow).on_conflict_do_nothing(), rows)
    publications.show_anew(session, runs)
    return study_id


def _check_apart(session: Session, name: str) -> None:
    known = set(session.scalars(select(StudyRow.name)))
    if name not in known:
        for existing in known:
            if names.alike(existing) == names.alike(name):
                raise StudyLooksAlike(name, existing)
