"""Records runs (once per fingerprint), finds them, cancels them, and takes those that are due."""

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
_LOCK = 7_309_459  # key of the advisory lock of everyone who submits; an arbitrary number


class UnknownRun(TrackerError):
    def __init__(self, run_id: object) -> None:
        super().__init__(
            f"Run {shown(str(run_id))} not found. List the runs with `headbook runs list`."
        )


class AmbiguousRun(TrackerError):
    def __init__(self, prefix: str, count: int) -> None:
        super().__init__(
            f"The prefix {prefix!r} is ambiguous: {count} runs match. Type more of the id."
        )


def to_run(row: RunRow) -> Run:
    values = {name: getattr(row, name) for name in Run.__dataclass_fields__}
    return Run(**values | {"state": RunState(row.state)})


def run(session: Session, run_id: UUID) -> Run:
    """The run of that id. Raises `UnknownRun`."""
    row = session.get(RunRow, run_id, populate_existing=True)
    if row is None:
        raise UnknownRun(run_id)
    return to_run(row)


def find_run(session: Session, prefix: str) -> Run:
    """The run whose id starts with the prefix. Raises `UnknownRun` or `AmbiguousRun`."""
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
    **columns: Any,
) -> Run | None:
    """Record a run with a part for each (start, stop) in `bounds`.

    None if its fingerprint already has a run that is active or has succeeded. `inputs` are run ids
    by name. The row is also the outbox: the dispatcher wakes a worker for it once all inputs have
    succeeded. The row in `publication` is the outbox for MLflow.
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
            **columns,
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
    """Keep other submissions from recording runs until the transaction ends.

    Two submissions that record the same fingerprints in different orders would deadlock.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def standing(session: Session, fingerprints: Collection[str]) -> dict[str, Run]:
    """The current runs of fingerprints: those that are active or have succeeded.

    They stay locked until the transaction ends, so that none fails before its dependants are
    recorded.
    """
    rows = session.scalars(
        select(RunRow)
        .where(
            RunRow.fingerprint.in_(fingerprints),
            RunRow.state.not_in([RunState.FAILED, RunState.CANCELLED]),
        )
        .order_by(RunRow.created_at, RunRow.id)  # see `inputs.lock_with_dependants`
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    originals_last = sorted(rows, key=lambda row: row.rerun_of is None)
    return {row.fingerprint: to_run(row) for row in originals_last}


def inputs(session: Session, run_id: UUID) -> dict[str, Run]:
    """The runs that a run needs, by input name."""
    query = (
        select(RunInputRow.name, RunRow)
        .join(RunRow, RunRow.id == RunInputRow.needs_run_id)
        .where(RunInputRow.run_id == run_id)
        .order_by(collate(RunInputRow.name, BY_CODE))
        .execution_options(populate_existing=True)
    )
    return {name: to_run(row) for name, row in session.execute(query)}


def made_by(session: Session, nonce: str) -> Run | None:
    """The run that was created with this nonce, if any."""
    row = session.scalars(select(RunRow).where(RunRow.nonce == nonce)).one_or_none()
    return None if row is None else to_run(row)


def hasten(session: Session, run_ids: Collection[UUID], priority: Priority) -> None:
    """Raise the priority of active runs to at least `priority`."""
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
    """Lock the run's row until the transaction ends; None if there is no such run.

    Every transaction that changes a part starts with this. Otherwise two workers that finish the
    last two parts would each see the other's part as unfinished, and the run would never finish.
    """
    row = session.scalars(
        select(RunRow)
        .where(RunRow.id == run_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    return None if row is None else to_run(row)


def cancel_all(session: Session, run_ids: Collection[UUID]) -> list[Run]:
    """Ask all of the runs to stop, or none. Raises `UnknownRun`."""
    input_store.lock_with_dependants(session, run_ids)
    return [cancel(session, run_id) for run_id in run_ids]


def cancel(session: Session, run_id: UUID) -> Run:
    """Ask a run to stop; it ends at once if no part is in progress. Raises `UnknownRun`."""
    if lock(session, run_id) is None:
        raise UnknownRun(run_id)
    active = RunRow.id == run_id, RunRow.state.in_(list(ACTIVE))
    requested_at = func.coalesce(RunRow.cancel_requested_at, func.clock_timestamp())
    session.execute(update(RunRow).where(*active).values(cancel_requested_at=requested_at))
    session.execute(
        update(PartRow)
        .where(PartRow.run_id == run_id, PartRow.state == PartState.QUEUED)
        .values(state=PartState.CANCELLED, finished_at=func.clock_timestamp())
    )
    end_if_idle(session, run_id)
    return run(session, run_id)


def end_if_idle(session: Session, run_id: UUID) -> None:
    """Cancel a run that was asked to stop, once none of its parts is in progress."""
    in_progress = exists().where(PartRow.run_id == RunRow.id, PartRow.state == PartState.RUNNING)
    ended = session.scalars(
        update(RunRow)
        .where(
            RunRow.id == run_id,
            RunRow.state.in_(list(ACTIVE)),
            RunRow.cancel_requested_at.is_not(None),
            ~in_progress,
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
    """True of a run's row while one of its parts is queued.

    The offset keeps the planner from reading the parts of all runs when only a few are needed.
    """
    waiting = select(PartRow.number).where(
        PartRow.run_id == RunRow.id, PartRow.state == PartState.QUEUED
    )
    return exists(waiting.correlate(RunRow).offset(0))


def proof_has_ended() -> ColumnElement[bool]:
    """True of a run's row once its model is proved, or refused, in which case the run will fail."""
    waits = select(ModelRow.id).where(
        ModelRow.id == RunRow.model_id,
        ModelRow.proof.in_([ProofState.UNPROVED, ProofState.PROVING]),
    )
    return ~exists(waits.correlate(RunRow).offset(0))  # see `has_waiting_part`


def take_due(session: Session, limit: int = 100) -> list[UUID]:
    """Runs that need a wake-up now; each is due again after a delay that grows each time."""
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
