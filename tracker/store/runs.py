"""Runs: recorded once per fingerprint, cancelled by a person, dispatched when they are due."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Text, cast, collate, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.errors import shown
from tracker.domain import ACTIVE, PartKind, PartState, Priority, ProofState, Run, RunState
from tracker.errors import TrackerError
from tracker.store import inputs as input_store
from tracker.tables import BY_CODE, ModelRow, PartRow, PublicationRow, RunInputRow, RunRow

LONGEST_ID = 36  # characters
_LONGEST_WAIT = 15  # seconds between two wake-ups for a run that does not move
_SECOND = func.make_interval(0, 0, 0, 0, 0, 0, 1)
_TURN = 7_309_459  # any number; the same for everybody who submits


class UnknownRun(TrackerError):
    def __init__(self, run_id: object) -> None:
        super().__init__(
            f"No run {shown(str(run_id))}. `headbook runs list` shows the runs there are."
        )


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
    if not set(prefix.lower()) <= set("0123456789abcdef-") or not 0 < len(prefix) <= LONGEST_ID:
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
    inputs: Mapping[str, UUID] | None = None,
    rerun_of: UUID | None = None,
    nonce: str | None = None,
    **asked: Any,
) -> Run | None:
    """Record a run with a part for each (start, stop); None if its fingerprint is live or done.

    The row is the outbox as well: the dispatcher wakes workers for it once all of its `inputs`,
    runs by the name it has for each, have succeeded. So is the row in `publication`.
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
    input_store.add(session, run_id, inputs or {})
    session.execute(insert(PublicationRow).values(run_id=run_id))
    return run(session, run_id)


def take_turn(session: Session) -> None:
    """Let no other submission record runs until the transaction ends.

    Two that record the same fingerprints, in another order, would wait for each other.
    """
    session.execute(select(func.pg_advisory_xact_lock(_TURN)))


def standing(session: Session, fingerprints: Collection[str]) -> dict[str, Run]:
    """The runs that stand for fingerprints: those that are live or done.

    They are held until the transaction ends, so that none fails before what needs it is recorded.
    """
    rows = session.scalars(
        select(RunRow)
        .where(
            RunRow.fingerprint.in_(fingerprints),
            RunRow.state.not_in([RunState.FAILED, RunState.CANCELLED]),
        )
        .order_by(RunRow.created_at, RunRow.id)  # as `inputs.lock_with_dependants` says
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    firsts_last = sorted(rows, key=lambda row: row.rerun_of is None)
    return {row.fingerprint: to_run(row) for row in firsts_last}


def inputs(session: Session, run_id: UUID) -> dict[str, Run]:
    """The runs that a run needs, by the name it has for each."""
    query = (
        select(RunInputRow.name, RunRow)
        .join(RunRow, RunRow.id == RunInputRow.needs_run_id)
        .where(RunInputRow.run_id == run_id)
        .order_by(collate(RunInputRow.name, BY_CODE))
        .execution_options(populate_existing=True)
    )
    return {name: to_run(row) for name, row in session.execute(query)}


def made_by(session: Session, nonce: str) -> Run | None:
    """The run that a form's click has made already."""
    row = session.scalars(select(RunRow).where(RunRow.nonce == nonce)).one_or_none()
    return None if row is None else to_run(row)


def hasten(session: Session, run_ids: Collection[UUID], priority: Priority) -> None:
    """Let runs that have not ended go at least as early as that."""
    session.execute(
        update(RunRow)
        .where(
            RunRow.id.in_(run_ids),
            RunRow.state.in_(list(ACTIVE)),
            RunRow.priority > priority.rank,
        )
        .values(priority=priority.rank)
    )


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


def cancel_all(session: Session, run_ids: Collection[UUID]) -> list[Run]:
    """Ask runs to stop, all or none; raises `UnknownRun`."""
    input_store.lock_with_dependants(session, run_ids)
    return [cancel(session, each) for each in run_ids]


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
    ended = session.scalars(
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
        .returning(RunRow.id)
    ).all()
    if ended:
        input_store.cancel_dependants(session, run_id)


def has_waiting_part() -> ColumnElement[bool]:
    """True of a run's row while one of its parts is in the queue.

    The offset keeps the planner from looking at the parts of all runs for the sake of a few.
    """
    waiting = select(PartRow.number).where(
        PartRow.run_id == RunRow.id, PartRow.state == PartState.QUEUED
    )
    return exists(waiting.correlate(RunRow).offset(0))


def proof_has_ended() -> ColumnElement[bool]:
    """True of a run's row once its model is proved, or refused: then it fails with the reason."""
    waits = select(ModelRow.id).where(
        ModelRow.id == RunRow.model_id,
        ModelRow.proof.in_([ProofState.UNPROVED, ProofState.PROVING]),
    )
    return ~exists(waits.correlate(RunRow).offset(0))  # as `has_waiting_part` says


def take_due(session: Session, limit: int = 100) -> list[UUID]:
    """Runs that a worker should look at now; each time a run is due again later than before."""
    wait = func.least(func.power(2, func.least(RunRow.dispatch_count, 6)), _LONGEST_WAIT)
    due = (
        select(RunRow.id)
        .where(
            RunRow.state.in_(list(ACTIVE)),
            RunRow.dispatch_due_at <= func.clock_timestamp(),
            RunRow.not_before <= func.clock_timestamp(),
            has_waiting_part(),
            input_store.all_there(),
            proof_has_ended(),
        )
        .order_by(RunRow.priority, RunRow.dispatch_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .cte("due")
    )
    taken = session.scalars(
        update(RunRow)
        .where(RunRow.id == due.c.id)
        .values(
            dispatch_due_at=func.clock_timestamp() + wait * _SECOND,
            dispatch_count=RunRow.dispatch_count + 1,
        )
        .returning(RunRow.id)
    )
    return list(taken)
