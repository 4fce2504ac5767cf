"""Studies: runs that people look at together."""

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
    def __init__(self, name: str, there: str) -> None:
        super().__init__(
            f"A study {name!r} would look like {there!r}, which is there. Use that one with "
            f"--study, or choose another name."
        )


def add_to_study(session: Session, *, name: str, created_by: str, runs: Collection[UUID]) -> UUID:
    """Put runs into the study of that name, which is made if it is new.

    Raises `StudyLooksAlike` for a new one that differs from another in case or width only.
    """
    _check_apart(session, name)
    statement = insert(StudyRow).values(id=uuid4(), name=name, created_by=created_by)
    study_id = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[StudyRow.name], set_={"name": statement.excluded.name}
        ).returning(StudyRow.id)
    ).one()
    rows = [{"study_id": study_id, "run_id": each} for each in runs]
    session.execute(insert(StudyRunRow).on_conflict_do_nothing(), rows)
    publications.show_anew(session, runs)
    return study_id


def _check_apart(session: Session, name: str) -> None:
    known = set(session.scalars(select(StudyRow.name)))
    if name not in known:
        for there in known:
            if names.alike(there) == names.alike(name):
                raise StudyLooksAlike(name, there)
