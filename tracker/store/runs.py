"""Runs: recorded once per fingerprint, cancelled by a person, rung for by the dispatcher."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Text, cast, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.domain import ACTIVE, PartKind, PartState, Priority, PublicationState, Run, RunState
from tracker.errors import TrackerError
from tracker.tables import PartRow, PublicationRow, RunRow, StudyRow, StudyRunRow

_LONGEST_WAIT = 15  # seconds between two rings for a run that does not move
_SECOND = func.make_interval(0, 0, 0, 0, 0, 0, 1)


class UnknownRun(TrackerError):
    def __init__(self, run_id: object) -> None:
        super().__init__(f"No run {str(run_id)!r}. `headbook runs list` shows the runs there are.")


class AmbiguousRun(TrackerError):
    def __init__(self, prefix: str, count: int) -> None:
        super().__init__(f"{count} runs begin with {prefix!r}. Write more of the id.")


def to_run(row: RunRow) -> Run:
    values = {name: getattr(row, name) for name in Run.__dataclass_fields__}
    return Run(**values | {"state": RunState(row.state)})


def run(session: Session, run_id: UUID) -> Run:
    """The run of that id; raises `UnknownRun`."""
    row = session.get(RunRow, run_id, populate_existing=True)
    if row is None:
        raise UnknownRun(run_id)
    return to_run(row)


def find_run(session: Session, prefix: str) -> Run:
    """The run whose id begins so; raises `UnknownRun`, `AmbiguousRun`."""
    if not set(prefix.lower()) <= set("0123456789abcdef-") or not prefix:
        raise UnknownRun(prefix)
    pattern = prefix.lower() + "%"
    rows = session.scalars(select(RunRow).where(cast(RunRow.id, Text).like(pattern)).limit(5)).all()
    if not rows:
        raise UnknownRun(prefix)
    if len(rows) > 1:
        raise AmbiguousRun(prefix, len(rows))
    return to_run(rows[0])


def insert_run(
    session: Session,
    *,
    fingerprint: str,
    bounds: Sequence[tuple[int, int]],
    priority: Priority,
    rerun_of: UUID | None = None,
    nonce: str | None = None,
    **asked: Any,
) -> Run | None:
    """Record a run with a part for each (start, stop); None if its fingerprint is live or done.

    The row is the outbox as well: the dispatcher rings for it. So is the row in `publication`.
    """
    run_id = session.scalar(
        insert(RunRow)
        .values(
            id=uuid4(),
            fingerprint=fingerprint,
            rerun_of=rerun_of,
            nonce=nonce,
            state=RunState.QUEUED,
            priority=priority.rank,
            n_parts=len(bounds),
            **asked,
        )
        .on_conflict_do_nothing()
        .returning(RunRow.id)
    )
    if run_id is None:
        return None
    session.execute(
        insert(PartRow),
        [
            {
                "run_id": run_id,
                "number": number,
                "kind": PartKind.PROMPTS,
                "start": start,
                "stop": stop,
                "state": PartState.QUEUED,
            }
            for number, (start, stop) in enumerate(bounds)
        ],
    )
    session.execute(insert(PublicationRow).values(run_id=run_id))
    return run(session, run_id)


def live_or_done(session: Session, *, fingerprint: str, nonce: str | None) -> Run | None:
    """The run that stands for a fingerprint, or that a form's nonce has made already."""
    standing = (RunRow.fingerprint == fingerprint) & (
        RunRow.state.not_in([RunState.FAILED, RunState.CANCELLED])
    )
    if nonce is not None:
        made = session.scalars(select(RunRow).where(RunRow.nonce == nonce)).one_or_none()
        if made is not None:
            return to_run(made)
    row = session.scalars(
        select(RunRow).where(standing).order_by(RunRow.rerun_of.is_(None).desc()).limit(1)
    ).one_or_none()
    return None if row is None else to_run(row)


def add_to_study(session: Session, *, name: str, created_by: str, runs: Sequence[UUID]) -> UUID:
    """Put runs into the study of that name, which is made if it is new."""
    statement = insert(StudyRow).values(id=uuid4(), name=name, created_by=created_by)
    study_id = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[StudyRow.name], set_={"name": statement.excluded.name}
        ).returning(StudyRow.id)
    ).one()
    rows = [{"study_id": study_id, "run_id": each} for each in runs]
    session.execute(insert(StudyRunRow).values(rows).on_conflict_do_nothing())
    session.execute(  # MLflow shows the studies of a run
        update(PublicationRow)
        .where(PublicationRow.run_id.in_(list(runs)))
        .values(state=PublicationState.PENDING, due_at=func.clock_timestamp())
    )
    return study_id


def lock(session: Session, run_id: UUID) -> Run | None:
    """Hold the run's row until the transaction ends; None if there is no such run.

    Every transaction that changes a part begins so. Otherwise two workers that finish the last
    two parts each see the other's as unfinished, and the run stays running for ever.
    """
    row = session.scalars(
        select(RunRow)
        .where(RunRow.id == run_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    return None if row is None else to_run(row)


def cancel(session: Session, run_id: UUID) -> Run:
    """Ask a run to stop. Without a part under way it is cancelled at once; raises `UnknownRun`."""
    if lock(session, run_id) is None:
        raise UnknownRun(run_id)
    active = RunRow.id == run_id, RunRow.state.in_(list(ACTIVE))
    asked = func.coalesce(RunRow.cancel_requested_at, func.clock_timestamp())
    session.execute(update(RunRow).where(*active).values(cancel_requested_at=asked))
    session.execute(
        update(PartRow)
        .where(PartRow.run_id == run_id, PartRow.state == PartState.QUEUED)
        .values(state=PartState.CANCELLED, finished_at=func.clock_timestamp())
    )
    end_if_idle(session, run_id)
    return run(session, run_id)


def end_if_idle(session: Session, run_id: UUID) -> None:
    """Cancel a run that was asked to stop, once none of its parts is under way."""
    under_way = exists().where(PartRow.run_id == RunRow.id, PartRow.state == PartState.RUNNING)
    session.execute(
        update(RunRow)
        .where(
            RunRow.id == run_id,
            RunRow.state.in_(list(ACTIVE)),
            RunRow.cancel_requested_at.is_not(None),
            ~under_way,
        )
        .values(
            state=RunState.CANCELLED,
            reason="cancelled by a person",
            finished_at=func.clock_timestamp(),
        )
    )


def ring_due(session: Session, limit: int = 100) -> list[UUID]:
    """Runs that a worker should look at now. Each ring puts the next one further off."""
    wait = func.least(func.power(2, func.least(RunRow.dispatch_count, 6)), _LONGEST_WAIT)
    waiting = exists().where(PartRow.run_id == RunRow.id, PartRow.state == PartState.QUEUED)
    due = (
        select(RunRow.id)
        .where(
            RunRow.state.in_(list(ACTIVE)),
            RunRow.dispatch_due_at <= func.clock_timestamp(),
            RunRow.not_before <= func.clock_timestamp(),
            waiting,
        )
        .order_by(RunRow.priority, RunRow.dispatch_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .cte("due")
    )
    rung = session.scalars(
        update(RunRow)
        .where(RunRow.id == due.c.id)
        .values(
            dispatch_due_at=func.clock_timestamp() + wait * _SECOND,
            dispatch_count=RunRow.dispatch_count + 1,
        )
        .returning(RunRow.id)
    )
    return list(rung)
