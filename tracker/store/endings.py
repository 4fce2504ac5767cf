"""How parts and runs end or go back to the queue: done, failed, cancelled, released, lost.

Every function locks the run's row first (see `runs.lock`), or follows `parts.fence`. A part of a
run that was asked to stop never goes back to the queue. A run that ends badly takes those that wait
for it along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, cast, exists, func, null, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from tracker.domain import PartClaim, PartKind, PartState, Run, RunState
from tracker.domain.run_notes import RunNotes
from tracker.secrets.urls import without_credentials
from tracker.store import inputs, memory, runs
from tracker.store.parts import NOW, held, seconds
from tracker.tables import PartRow, PartScoreRow, PartTensorRow, RunRow, WorkerRow


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


def finish_run(session: Session, claim: PartClaim, *, notes: RunNotes) -> None:
    """End a fenced finishing part and its run; what the parts had measured is in `score` by now.

    What the run was warned of when it was queued stays, before the warnings in `notes`. Runs that
    waited only for this one are due from this commit on.
    """
    for table in (PartScoreRow, PartTensorRow):
        session.query(table).filter(table.run_id == claim.run_id).delete(synchronize_session=False)
    session.execute(update(PartRow).where(held(claim)).values(_ended(PartState.SUCCEEDED)))
    queued = session.scalar(select(RunRow.notes).where(RunRow.id == claim.run_id))
    warnings = (*RunNotes.from_json(queued).warnings, *notes.warnings)
    _move_run(
        session,
        claim.run_id,
        state=RunState.SUCCEEDED,
        finished_at=NOW,
        notes=replace(notes, warnings=warnings).as_json(),
        reason=null(),
    )


def fail(session: Session, claim: PartClaim, *, reason: str) -> bool:
    """End the run as failed, its other parts as cancelled; False if the claim is lost."""
    runs.lock(session, claim.run_id)
    if not _end(session, held(claim), PartState.FAILED):
        return False
    _end_failed(session, claim.run_id, reason)
    return True


def cancelled(session: Session, claim: PartClaim) -> None:
    """End the part because its run was asked to stop, and the run when this was its last one."""
    runs.lock(session, claim.run_id)
    _end(session, held(claim), PartState.CANCELLED)
    runs.end_if_idle(session, claim.run_id)


def release(session: Session, claim: PartClaim, *, reason: str, wait: float = 0) -> None:
    """Give the part back, without blame; it can be claimed again after `wait` seconds."""
    runs.lock(session, claim.run_id)
    if _give_back(session, claim.run_id, held(claim)):
        later = NOW + seconds(wait)
        _back_to_queue(
            session, claim.run_id, reason=reason, not_before=later, dispatch_due_at=later
        )


def retry(session: Session, claim: PartClaim, *, reason: str) -> None:
    """Give the part back after a failed attempt; the last attempt ends the run as failed."""
    run = runs.lock(session, claim.run_id)
    if run is None:
        return
    if run.attempt >= run.max_attempts and not _asked_to_stop(session, run.id):
        fail(session, claim, reason=f"{reason}; attempt {run.attempt} of {run.max_attempts}")
    elif _give_back(session, run.id, held(claim)):
        _next_attempt(session, run, reason)


def too_small(session: Session, claim: PartClaim, *, worker: str, reason: str) -> None:
    """Give the part back, without blame, to workers that have more memory than this one.

    How much was too little stays on record, so that nobody with as little claims a part of the run
    again. The run fails when no worker of the last hour may have more. Where it is not known what
    the worker has, an attempt has failed.
    """
    runs.lock(session, claim.run_id)
    its = select(WorkerRow.memory).where(WorkerRow.name == worker).scalar_subquery()
    refused = session.scalar(
        update(RunRow)
        .where(RunRow.id == claim.run_id, exists().where(held(claim)), its.is_not(None))
        .values(refused_memory=func.greatest(RunRow.refused_memory, its))
        .returning(RunRow.refused_memory)
    )
    if refused is None:
        retry(session, claim, reason=reason)
    elif _asked_to_stop(session, claim.run_id) or session.scalar(
        select(memory.some_worker_fits(memory.RUN)).where(RunRow.id == claim.run_id)
    ):
        release(session, claim, reason=f"too large for {worker}: {reason}")
    else:
        said = memory.too_large_in_words(session, memory.RUN, RunRow.id == claim.run_id)
        fail(session, claim, reason=f"{reason.rstrip('.')}. {said}")


def reap(session: Session, run_id: UUID) -> int:
    """Take back the run's parts whose leases ran out; how many."""
    return _take_back(session, run_id, PartRow.lease_expires_at < NOW, _silent)


def lost(session: Session, run_id: UUID, *, worker: str) -> int:
    """Take back the run's parts that a worker holds whose process is known to have ended."""
    said = f"lost: the process of {worker} ended, killed or out of memory"
    return _take_back(session, run_id, PartRow.worker == worker, lambda parts: said)


def _silent(parts: Sequence[PartRow]) -> str:
    names = ", ".join(sorted({str(part.worker) for part in parts}))
    since = min(part.lease_expires_at for part in parts if part.lease_expires_at)
    return f"lost: no heartbeat of {names} until {since.astimezone(UTC):%H:%M:%S} UTC"


def _take_back(
    session: Session,
    run_id: UUID,
    which: ColumnElement[bool],
    why: Callable[[Sequence[PartRow]], str],
) -> int:
    """Take parts back, as one crash of the run.

    However many of its workers an outage ends, and however late each is missed, it is one crash:
    parts that were claimed before the last crash was counted go back without blame.
    """
    run = runs.lock(session, run_id)
    held_so = and_(PartRow.run_id == run_id, PartRow.state == PartState.RUNNING, which)
    # Heartbeats do not lock the run: the parts are locked, so that none is renewed meanwhile.
    parts = session.scalars(select(PartRow).where(held_so).with_for_update()).all()
    if run is None or not parts:
        return 0
    reason = why(parts)
    these = and_(PartRow.run_id == run_id, PartRow.number.in_([part.number for part in parts]))
    counted = session.scalars(select(RunRow.crashed_at).where(RunRow.id == run_id)).one()
    if counted and all(part.started_at and part.started_at < counted for part in parts):
        if _give_back(session, run_id, these):
            _back_to_queue(session, run_id, reason=reason, dispatch_due_at=NOW)
        return len(parts)
    crashed = {"crashes": run.crashes + 1, "crashed_at": NOW}
    session.execute(update(RunRow).where(RunRow.id == run_id).values(crashed))
    out_of_tries = run.crashes + 1 >= run.max_crashes or run.attempt >= run.max_attempts
    if out_of_tries and not _asked_to_stop(session, run_id):
        _end(session, these, PartState.FAILED)
        tries = f"crash {run.crashes + 1}, attempt {run.attempt} of {run.max_attempts}"
        _end_failed(session, run_id, f"{reason}; {tries}")
    elif _give_back(session, run_id, these):
        _next_attempt(session, run, reason)
    return len(parts)


def _asked_to_stop(session: Session, run_id: UUID) -> bool:
    asked = select(RunRow.cancel_requested_at.is_not(None)).where(RunRow.id == run_id)
    return session.scalars(asked).one()


def _end(session: Session, which: ColumnElement[bool], state: PartState) -> bool:
    ended = update(PartRow).where(which).values(_ended(state)).returning(PartRow.number)
    return bool(session.scalars(ended).all())


def _ended(state: PartState) -> dict[str, Any]:
    return {"state": state, "worker": None, "lease_expires_at": None, "finished_at": NOW}


def _give_back(session: Session, run_id: UUID, which: ColumnElement[bool]) -> bool:
    """Put parts back into the queue; where the run was asked to stop, end them instead."""
    if _asked_to_stop(session, run_id):
        _end(session, which, PartState.CANCELLED)
        runs.end_if_idle(session, run_id)
        return False
    waiting = (
        update(PartRow)
        .where(which)
        .values(
            state=PartState.QUEUED,
            epoch=PartRow.epoch + 1,
            worker=None,
            lease_expires_at=None,
            done=0,
        )
    )
    return bool(session.scalars(waiting.returning(PartRow.number)).all())


def _next_attempt(session: Session, run: Run, reason: str) -> None:
    following = run.attempt + 1
    _back_to_queue(
        session,
        run.id,
        attempt=following,
        reason=f"{reason}; attempt {following} of {run.max_attempts} is queued",
        dispatch_due_at=NOW,
    )


def _back_to_queue(session: Session, run_id: UUID, **values: Any) -> None:
    """Say why, and let a run none of whose parts is under way wait as a queued one."""
    under_way = exists().where(PartRow.run_id == run_id, PartRow.state == PartState.RUNNING)
    idle = and_(RunRow.state == RunState.RUNNING, ~under_way)
    state = case((idle, RunState.QUEUED.value), else_=RunRow.state)
    _move_run(session, run_id, state=state, dispatch_count=0, **values)


def _end_failed(session: Session, run_id: UUID, reason: str) -> None:
    left = PartRow.state.in_([PartState.QUEUED, PartState.RUNNING])
    _end(session, and_(PartRow.run_id == run_id, left), PartState.CANCELLED)
    _move_run(session, run_id, state=RunState.FAILED, finished_at=NOW, reason=reason)
    inputs.cancel_dependants(session, run_id)


def _move_run(session: Session, run_id: UUID, **values: Any) -> None:
    """Change the run; a reason is read by whoever reads results, and holds no secret."""
    if isinstance(reason := values.get("reason"), str):
        values["reason"] = without_credentials(reason)
    session.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
