"""Dependencies between runs: a run waits for its inputs, and is cancelled if one does not succeed.

A waiting run has never been claimed, so it can be cancelled without a worker. When its last input
succeeds it needs no wake-up of its own: it becomes due with that commit, and the dispatcher wakes
a worker for it.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from tracker.domain import ACTIVE, PartState, RunState
from tracker.tables import PartRow, RunInputRow, RunRow

NOW = func.clock_timestamp()
_ENDED = {RunState.FAILED: "failed", RunState.CANCELLED: "was cancelled"}


def add(session: Session, run_id: UUID, inputs: Mapping[str, UUID]) -> None:
    """Make a new run wait for its inputs: run ids by the name under which it reads each."""
    rows = [
        {"run_id": run_id, "name": name, "needs_run_id": needed} for name, needed in inputs.items()
    ]
    if rows:
        session.execute(insert(RunInputRow), rows)


def with_inputs(session: Session, run_ids: Collection[UUID]) -> list[UUID]:
    """The runs, and all runs that they need, directly or indirectly."""
    known = select(RunRow.id).where(RunRow.id.in_(run_ids)).cte("known", recursive=True)
    known = known.union(select(RunInputRow.needs_run_id).where(RunInputRow.run_id == known.c.id))
    return list(session.scalars(select(known.c.id)))


def all_there() -> ColumnElement[bool]:
    """True of a run's row once every run that it needs has succeeded."""
    needed = aliased(RunRow)
    missing = select(needed.id).where(
        RunInputRow.run_id == RunRow.id,
        needed.id == RunInputRow.needs_run_id,
        needed.state != RunState.SUCCEEDED,
    )
    return ~exists(missing.correlate(RunRow).offset(0))  # see `runs.has_waiting_part`


def lock_with_dependants(session: Session, run_ids: Collection[UUID]) -> None:
    """Lock runs, and all runs that wait for them, until the transaction ends.

    Every transaction that locks several runs locks them in the order in which they were recorded.
    Inputs come before their dependants, so going on from a locked run to its dependants keeps that
    order, and transactions never deadlock.
    """
    known = select(RunRow.id).where(RunRow.id.in_(run_ids)).cte("known", recursive=True)
    known = known.union(select(RunInputRow.run_id).where(RunInputRow.needs_run_id == known.c.id))
    session.execute(
        select(RunRow.id)
        .where(RunRow.id.in_(select(known.c.id)))
        .order_by(RunRow.created_at, RunRow.id)
        .with_for_update(key_share=True)
    )


def cancel_dependants(session: Session, run_id: UUID) -> None:
    """Cancel all runs that wait, directly or indirectly, for a run that failed or was cancelled."""
    lock_with_dependants(session, [run_id])
    _cancel_waiting(session, run_id)


def _cancel_waiting(session: Session, run_id: UUID) -> None:
    ended = session.get_one(RunRow, run_id, populate_existing=True)
    how = _ENDED[RunState(ended.state)]
    waiting = select(RunInputRow.run_id).where(RunInputRow.needs_run_id == run_id)
    cancelled = session.scalars(
        update(RunRow)
        .where(RunRow.id.in_(waiting), RunRow.state.in_(list(ACTIVE)))
        .values(
            state=RunState.CANCELLED,
            reason=f"its input, run {str(run_id)[:8]} ({ended.analysis}), {how}: {ended.reason}",
            finished_at=NOW,
        )
        .returning(RunRow.id)
    ).all()
    session.execute(
        update(PartRow)
        .where(PartRow.run_id.in_(cancelled), PartRow.state == PartState.QUEUED)
        .values(state=PartState.CANCELLED, finished_at=NOW)
    )
    for dependant in cancelled:
        _cancel_waiting(session, dependant)
