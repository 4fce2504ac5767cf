"""Claims parts under a lease, renews leases by heartbeats, and fences writes by epoch.

Each change is one conditional statement: if it returns no row, the claim was lost. Every function
but `heartbeat` locks the run's row first (see `runs.lock`).
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
    """The part was claimed by another worker or has ended; the work on it is discarded."""


class CancelSeen(Exception):
    """Somebody has asked the run to stop."""


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
    """Runs with a claimable part: by priority, then runs of `loaded` models, then `hint`, then age.

    A run is not claimable while an input has not succeeded or its model is not proved, or if it
    needs more memory than `worker` has. The query reads only the first rows of the queue and of
    the queue of each loaded model, along an index, however many runs wait.
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
    queues = [first, *(first.where(RunRow.model_id == model_id) for model_id in loaded)]
    fronts = [queue.order_by(*ordered).limit(limit).subquery() for queue in queues]
    runs_ = union(first.where(RunRow.id == hint), *(select(front) for front in fronts)).subquery()
    query = select(runs_.c.id).order_by(
        runs_.c.priority,
        runs_.c.model_id.in_(loaded).desc(),
        (runs_.c.id == hint).desc().nulls_last(),
        runs_.c.created_at,
    )
    return list(session.scalars(query.limit(limit)))


def claim(session: Session, run_id: UUID, *, worker: str, lease: float) -> PartClaim | None:
    """Claim the run's next queued part for `worker`, with a lease of `lease` seconds.

    None if no part is claimable, or if the worker is known to have too little memory for the run.
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
            reason=null(),  # it no longer waits
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
    """Renew the lease. True if the run was asked to stop. Raises `LeaseLost`."""
    so_far = func.least(PartRow.stop - PartRow.start, done)
    asked_to_stop = session.scalars(
        update(PartRow)
        .where(held(claim), RunRow.id == PartRow.run_id)
        .values(
            lease_expires_at=NOW + seconds(lease),
            done=PartRow.done if done is None else func.greatest(PartRow.done, so_far),
        )
        .returning(RunRow.cancel_requested_at.is_not(None))
    ).one_or_none()
    if asked_to_stop is None:
        raise LeaseLost(claim)
    return asked_to_stop


def fence(session: Session, claim: PartClaim, *, lease: float) -> None:
    """Start a transaction that writes for the claim: lock the run, and check and renew the lease.

    Raises `LeaseLost` or `CancelSeen`.
    """
    runs.lock(session, claim.run_id)
    if heartbeat(session, claim, lease=lease):
        raise CancelSeen(claim)


def runs_with_lost_parts(session: Session, limit: int = 100) -> list[UUID]:
    """Runs with a part whose lease has expired."""
    query = (
        select(PartRow.run_id)
        .where(PartRow.state == PartState.RUNNING, PartRow.lease_expires_at < NOW)
        .distinct()
        .limit(limit)
    )
    return list(session.scalars(query))


def runs_held_by(session: Session, worker: str) -> list[UUID]:
    """Runs with a part that the worker holds."""
    query = select(PartRow.run_id).where(
        PartRow.state == PartState.RUNNING, PartRow.worker == worker
    )
    return list(session.scalars(query.distinct()))
