"""Parts: claimed under a lease, kept by heartbeats, and fenced by their epoch.

One conditional statement decides each move; no row means "not yours any more". Every function but
`heartbeat` locks the run's row first (see `runs.lock`).
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, null, select, union, update
from sqlalchemy.orm import Session

from tracker.domain import ACTIVE, PartClaim, PartKind, PartState, RunState
from tracker.store import inputs, memory, runs
from tracker.tables import PartRow, RunRow

NOW = func.clock_timestamp()


class LeaseLost(Exception):
    """The part belongs to somebody else by now, or has ended; what was done for it is dropped."""


class CancelSeen(Exception):
    """A person has asked the run to stop."""


def seconds(count: float) -> ColumnElement[Any]:
    return func.make_interval(0, 0, 0, 0, 0, 0, count)


def waiting_runs(
    session: Session,
    *,
    loaded: Collection[int],
    hint: UUID | None,
    worker: str | None = None,
    avoid: Collection[UUID] = (),
    limit: int = 20,
) -> list[UUID]:
    """Runs with a part to claim: urgent first, then those of `loaded` models, then `hint`.

    A run whose inputs have not all succeeded has none, nor has one that needs more memory than
    `worker` has, or whose model is yet to be proved. However many runs wait, only the first of the
    queue, and of the queue of each loaded model, are looked at: each walks along an index.
    """
    claimable = and_(
        RunRow.state.in_(list(ACTIVE)),
        RunRow.cancel_requested_at.is_(None),
        RunRow.not_before <= NOW,
        RunRow.id.not_in(list(avoid)),
        memory.run_fits(worker),
        runs.has_waiting_part(),
        inputs.all_there(),
        runs.proof_has_ended(),
    )
    ordered = RunRow.priority, RunRow.created_at
    first = select(RunRow.id, RunRow.model_id, *ordered).where(claimable)
    queues = [first, *(first.where(RunRow.model_id == each) for each in loaded)]
    heads = [queue.order_by(*ordered).limit(limit).subquery() for queue in queues]
    found = union(first.where(RunRow.id == hint), *(select(head) for head in heads)).subquery()
    query = select(found.c.id).order_by(
        found.c.priority,
        found.c.model_id.in_(loaded).desc(),
        (found.c.id == hint).desc().nulls_last(),
        found.c.created_at,
    )
    return list(session.scalars(query.limit(limit)))


def claim(session: Session, run_id: UUID, *, worker: str, lease: float) -> PartClaim | None:
    """Give the run's next waiting part to `worker` for `lease` seconds; None if none waits.

    None as well where the worker is known to have too little memory for the run.
    """
    if runs.lock(session, run_id) is None:
        return None
    first = (
        select(func.min(PartRow.number))
        .where(PartRow.run_id == run_id, PartRow.state == PartState.QUEUED)
        .scalar_subquery()
    )
    row = session.scalars(
        update(PartRow)
        .where(
            PartRow.run_id == run_id,
            PartRow.number == first,
            PartRow.state == PartState.QUEUED,
            RunRow.id == PartRow.run_id,
            RunRow.state.in_(list(ACTIVE)),
            RunRow.cancel_requested_at.is_(None),
            RunRow.not_before <= NOW,
            inputs.all_there(),
            memory.run_fits(worker),
            runs.proof_has_ended(),
        )
        .values(
            state=PartState.RUNNING,
            epoch=PartRow.epoch + 1,
            worker=worker,
            lease_expires_at=NOW + seconds(lease),
            started_at=NOW,
        )
        .returning(PartRow)
    ).one_or_none()
    if row is None:
        return None
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(
            state=case(
                (RunRow.state == RunState.QUEUED, RunState.RUNNING.value), else_=RunRow.state
            ),
            started_at=func.coalesce(RunRow.started_at, NOW),
            reason=null(),  # why it had waited
        )
    )
    return PartClaim(run_id, row.number, PartKind(row.kind), row.epoch, row.start, row.stop)


def held(claim: PartClaim) -> ColumnElement[bool]:
    """True of the part's row while the claim still holds it."""
    return and_(
        PartRow.run_id == claim.run_id,
        PartRow.number == claim.number,
        PartRow.epoch == claim.epoch,
        PartRow.state == PartState.RUNNING,
    )


def heartbeat(session: Session, claim: PartClaim, *, lease: float, done: int | None = None) -> bool:
    """Renew the lease; True if a person has asked the run to stop. Raises `LeaseLost`."""
    so_far = func.least(PartRow.stop - PartRow.start, done)
    asked = session.scalars(
        update(PartRow)
        .where(held(claim), RunRow.id == PartRow.run_id)
        .values(
            lease_expires_at=NOW + seconds(lease),
            done=PartRow.done if done is None else func.greatest(PartRow.done, so_far),
        )
        .returning(RunRow.cancel_requested_at.is_not(None))
    ).one_or_none()
    if asked is None:
        raise LeaseLost(claim)
    return asked


def fence(session: Session, claim: PartClaim, *, lease: float) -> None:
    """Open a transaction that writes for the claim; raises `LeaseLost`, `CancelSeen`."""
    runs.lock(session, claim.run_id)
    if heartbeat(session, claim, lease=lease):
        raise CancelSeen(claim)


def runs_with_lost_parts(session: Session, limit: int = 100) -> list[UUID]:
    """Runs of which a part's lease has run out."""
    query = (
        select(PartRow.run_id)
        .where(PartRow.state == PartState.RUNNING, PartRow.lease_expires_at < NOW)
        .distinct()
        .limit(limit)
    )
    return list(session.scalars(query))


def runs_held_by(session: Session, worker: str) -> list[UUID]:
    """Runs of which that worker holds a part."""
    query = select(PartRow.run_id).where(
        PartRow.state == PartState.RUNNING, PartRow.worker == worker
    )
    return list(session.scalars(query.distinct()))
