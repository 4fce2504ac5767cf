"""Which runs need which: a run waits for its inputs, and is cancelled when one of them ends badly.

A run that waits has never been claimed, so it ends without a worker. It needs no wake-up either
when its last input succeeds: until then nobody was woken for it, and from that commit on it is due.
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
    """Make a new run wait for others, each under the name it is handed over by."""
    rows = [
        {"run_id": run_id, "name": name, "needs_run_id": needed} for name, needed in inputs.items()
    ]
    if rows:
        session.execute(insert(RunInputRow), rows)


def with_inputs(session: Session, run_ids: Collection[UUID]) -> list[UUID]:
    """The runs, and all that they need, directly or not."""
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
    return ~exists(missing.correlate(RunRow).offset(0))  # as `runs.has_waiting_part` says


def lock_with_dependants(session: Session, run_ids: Collection[UUID]) -> None:
    """Hold runs, and all that wait for them, until the transaction ends.

    Whoever locks several runs locks them in the order in which they were recorded: an input comes
    before what needs it, so who holds one run and goes on to its dependants keeps to that order,
    and no two transactions wait for each other.
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
    """End all that waits, directly or not, for a run that has failed or was cancelled."""
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
    for each in cancelled:
        _cancel_waiting(session, each)
