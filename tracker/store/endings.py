"""How parts and runs end or go back to the queue: done, failed, cancelled, released, lost.

Every function locks the run's row first (see `runs.lock`), or follows `parts.fence`.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, cast, exists, func, null, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from tracker.domain import PartClaim, PartKind, PartState, RunState
from tracker.store import runs
from tracker.store.parts import NOW, held, seconds
from tracker.tables import PartRow, PartScoreRow, PartTensorRow, RunRow


def finish_part(session: Session, claim: PartClaim, *, provenance: Mapping[str, Any]) -> None:
    """End a fenced part of prompts; the last one makes the run finishing, with a part for that."""
    session.execute(
        update(PartRow)
        .where(held(claim))
        .values(_ended(PartState.SUCCEEDED) | {"done": PartRow.stop - PartRow.start})
    )
    known = func.coalesce(RunRow.provenance, cast(dict(provenance), JSONB))
    session.execute(update(RunRow).where(RunRow.id == claim.run_id).values(provenance=known))
    left = select(func.count()).where(
        PartRow.run_id == claim.run_id, PartRow.state != PartState.SUCCEEDED
    )
    if session.scalars(left).one() > 0:
        return
    run = runs.run(session, claim.run_id)
    session.execute(
        insert(PartRow).values(
            run_id=run.id,
            number=run.n_parts,
            kind=PartKind.FINISH,
            start=run.n_prompts,
            stop=run.n_prompts,
            state=PartState.QUEUED,
        )
    )
    _move_run(session, run.id, state=RunState.FINISHING, dispatch_due_at=NOW, reason=null())


def finish_run(session: Session, claim: PartClaim, *, notes: Mapping[str, Any]) -> None:
    """End a fenced finishing part and its run; what the parts had measured is in `score` by now."""
    for table in (PartScoreRow, PartTensorRow):
        session.query(table).filter(table.run_id == claim.run_id).delete(synchronize_session=False)
    session.execute(update(PartRow).where(held(claim)).values(_ended(PartState.SUCCEEDED)))
    _move_run(
        session,
        claim.run_id,
        state=RunState.SUCCEEDED,
        finished_at=NOW,
        notes=dict(notes),
        reason=null(),
    )


def fail(session: Session, claim: PartClaim, *, reason: str) -> bool:
    """End the run as failed, its other parts as cancelled; False if the claim is lost."""
    runs.lock(session, claim.run_id)
    mine = session.scalars(
        update(PartRow)
        .where(held(claim))
        .values(_ended(PartState.FAILED))
        .returning(PartRow.number)
    ).one_or_none()
    if mine is None:
        return False
    _end_failed(session, claim.run_id, reason)
    return True


def cancelled(session: Session, claim: PartClaim) -> None:
    """End the part because its run was asked to stop, and the run when this was its last one."""
    runs.lock(session, claim.run_id)
    session.execute(update(PartRow).where(held(claim)).values(_ended(PartState.CANCELLED)))
    runs.end_if_idle(session, claim.run_id)


def release(
    session: Session, claim: PartClaim, *, wait: float = 0, reason: str | None = None
) -> None:
    """Give the part back, without blame; it can be claimed again after `wait` seconds."""
    runs.lock(session, claim.run_id)
    if _requeue(session, held(claim)) is not None:
        _move_run(
            session,
            claim.run_id,
            reason=reason,
            not_before=NOW + seconds(wait),
            dispatch_due_at=NOW + seconds(wait),
        )
        _queued_when_idle(session, claim.run_id)


def retry(session: Session, claim: PartClaim, *, reason: str) -> None:
    """Give the part back after a failed attempt; the last attempt ends the run as failed."""
    run = runs.lock(session, claim.run_id)
    if run is None:
        return
    if run.attempt >= run.max_attempts:
        fail(session, claim, reason=f"{reason}; attempt {run.attempt} of {run.max_attempts}")
        return
    if _requeue(session, held(claim)) is not None:
        _next_attempt(session, run.id, run.attempt, run.max_attempts, reason)


def reap(session: Session, run_id: UUID, number: int) -> bool:
    """Take back a part whose worker is lost; False if its lease was renewed meanwhile."""
    run = runs.lock(session, run_id)
    lost = and_(
        PartRow.run_id == run_id,
        PartRow.number == number,
        PartRow.state == PartState.RUNNING,
        PartRow.lease_expires_at < NOW,
    )
    since = func.to_char(PartRow.lease_expires_at, "HH24:MI:SS TZ")
    last = session.execute(select(PartRow.worker, since).where(lost)).one_or_none()
    if run is None or last is None:
        return False
    reason = f"lost: worker {last[0]} let its lease run out at {last[1]}"
    crashes = run.crashes + 1
    session.execute(update(RunRow).where(RunRow.id == run_id).values(crashes=crashes))
    asked = select(RunRow.cancel_requested_at.is_not(None)).where(RunRow.id == run_id)
    if session.scalars(asked).one():
        session.execute(update(PartRow).where(lost).values(_ended(PartState.CANCELLED)))
        runs.end_if_idle(session, run_id)
    elif crashes >= run.max_crashes or run.attempt >= run.max_attempts:
        session.execute(update(PartRow).where(lost).values(_ended(PartState.FAILED)))
        _end_failed(
            session,
            run_id,
            f"{reason}; crash {crashes}, attempt {run.attempt} of {run.max_attempts}",
        )
    else:
        _requeue(session, lost)
        _next_attempt(session, run_id, run.attempt, run.max_attempts, reason)
    return True


def _ended(state: PartState) -> dict[str, Any]:
    return {"state": state, "worker": None, "lease_expires_at": None, "finished_at": NOW}


def _requeue(session: Session, which: ColumnElement[bool]) -> int | None:
    return session.scalars(
        update(PartRow)
        .where(which)
        .values(
            state=PartState.QUEUED,
            epoch=PartRow.epoch + 1,
            worker=None,
            lease_expires_at=None,
            done=0,
        )
        .returning(PartRow.number)
    ).one_or_none()


def _next_attempt(session: Session, run_id: UUID, attempt: int, most: int, reason: str) -> None:
    _move_run(
        session,
        run_id,
        attempt=attempt + 1,
        reason=f"{reason}; attempt {attempt + 1} of {most} is queued",
        dispatch_due_at=NOW,
    )
    _queued_when_idle(session, run_id)


def _queued_when_idle(session: Session, run_id: UUID) -> None:
    under_way = exists().where(PartRow.run_id == RunRow.id, PartRow.state == PartState.RUNNING)
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.state == RunState.RUNNING, ~under_way)
        .values(state=RunState.QUEUED, dispatch_count=0)
    )


def _end_failed(session: Session, run_id: UUID, reason: str) -> None:
    session.execute(
        update(PartRow)
        .where(PartRow.run_id == run_id, PartRow.state.in_([PartState.QUEUED, PartState.RUNNING]))
        .values(_ended(PartState.CANCELLED))
    )
    _move_run(session, run_id, state=RunState.FAILED, finished_at=NOW, reason=reason)


def _move_run(session: Session, run_id: UUID, **values: Any) -> None:
    session.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
