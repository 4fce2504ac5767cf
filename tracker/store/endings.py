"""How parts and runs end or go back to the queue: done, failed, cancelled, released, lost.

Every function locks the run's row first (see `runs.lock`), or is called after `parts.fence`. If
the run was asked to stop, its parts never go back to the queue. When a run fails or is cancelled,
the runs that wait for it are cancelled too.
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
    """End a fenced part of prompts. After the last one, the run is finishing: add that part."""
    session.execute(
        update(PartRow)
        .where(held(claim))
        .values(_ended(PartState.SUCCEEDED) | {"done": PartRow.stop - PartRow.start})
    )
    first = func.coalesce(RunRow.provenance, cast(dict(provenance), JSONB))
    session.execute(update(RunRow).where(RunRow.id == claim.run_id).values(provenance=first))
    unfinished = select(func.count()).where(
        PartRow.run_id == claim.run_id, PartRow.state != PartState.SUCCEEDED
    )
    if session.scalars(unfinished).one() > 0:
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
    """End a fenced finishing part and its run, and delete the scores and tensors of its parts.

    The run's scores are in `score` by now. Warnings from when it was queued are kept, before those
    in `notes`. Runs that waited only for this one are due once this commits.
    """
    for table in (PartScoreRow, PartTensorRow):
        session.query(table).filter(table.run_id == claim.run_id).delete(synchronize_session=False)
    session.execute(update(PartRow).where(held(claim)).values(_ended(PartState.SUCCEEDED)))
    when_queued = session.scalar(select(RunRow.notes).where(RunRow.id == claim.run_id))
    warnings = (*RunNotes.from_json(when_queued).warnings, *notes.warnings)
    _move_run(
        session,
        claim.run_id,
        state=RunState.SUCCEEDED,
        finished_at=NOW,
        notes=replace(notes, warnings=warnings).as_json(),
        reason=null(),
    )


def fail(session: Session, claim: PartClaim, *, reason: str) -> bool:
    """End the run as failed and its other parts as cancelled. False if the claim is lost."""
    runs.lock(session, claim.run_id)
    if not _end(session, held(claim), PartState.FAILED):
        return False
    _end_failed(session, claim.run_id, reason)
    return True


def cancelled(session: Session, claim: PartClaim) -> None:
    """End the part because its run was asked to stop; with its last part, the run ends too."""
    runs.lock(session, claim.run_id)
    _end(session, held(claim), PartState.CANCELLED)
    runs.end_if_idle(session, claim.run_id)


def release(session: Session, claim: PartClaim, *, reason: str, wait: float = 0) -> None:
    """Return the part to the queue without counting an attempt, for `wait` seconds or later."""
    runs.lock(session, claim.run_id)
    if _give_back(session, claim.run_id, held(claim)):
        later = NOW + seconds(wait)
        _back_to_queue(
            session, claim.run_id, reason=reason, not_before=later, dispatch_due_at=later
        )


def retry(session: Session, claim: PartClaim, *, reason: str) -> None:
    """Return the part to the queue after a failed attempt; after the last, the run fails."""
    run = runs.lock(session, claim.run_id)
    if run is None:
        return
    if run.attempt >= run.max_attempts and not _asked_to_stop(session, run.id):
        fail(session, claim, reason=f"{reason}; attempt {run.attempt} of {run.max_attempts}")
    elif _give_back(session, run.id, held(claim)):
        _next_attempt(session, run, reason)


def too_small(session: Session, claim: PartClaim, *, worker: str, reason: str) -> None:
    """Return the part to the queue, without counting an attempt, for workers with more memory.

    The memory that was too small is recorded, so that no worker with as little claims a part of
    the run again. If no worker of the last hour may have more, the run fails. If this worker's
    memory is not known, it counts as a failed attempt.
    """
    runs.lock(session, claim.run_id)
    worker_memory = select(WorkerRow.memory).where(WorkerRow.name == worker).scalar_subquery()
    refused = session.scalar(
        update(RunRow)
        .where(RunRow.id == claim.run_id, exists().where(held(claim)), worker_memory.is_not(None))
        .values(refused_memory=func.greatest(RunRow.refused_memory, worker_memory))
        .returning(RunRow.refused_memory)
    )
    if refused is None:
        retry(session, claim, reason=reason)
    elif _asked_to_stop(session, claim.run_id) or session.scalar(
        select(memory.some_worker_fits(memory.RUN)).where(RunRow.id == claim.run_id)
    ):
        release(session, claim, reason=f"too large for {worker}: {reason}")
    else:
        advice = memory.too_large_in_words(session, memory.RUN, RunRow.id == claim.run_id)
        fail(session, claim, reason=f"{reason.rstrip('.')}. {advice}")


def reap(session: Session, run_id: UUID) -> int:
    """Take back the run's parts whose leases have expired. Returns their number."""
    return _take_back(session, run_id, PartRow.lease_expires_at < NOW, _no_heartbeat)


def lost(session: Session, run_id: UUID, *, worker: str) -> int:
    """Take back the run's parts held by a worker whose process has ended. Returns their number."""
    reason = f"lost: the process of {worker} ended, killed or out of memory"
    return _take_back(session, run_id, PartRow.worker == worker, lambda parts: reason)


def _no_heartbeat(parts: Sequence[PartRow]) -> str:
    names = ", ".join(sorted({str(part.worker) for part in parts}))
    since = min(part.lease_expires_at for part in parts if part.lease_expires_at)
    return f"lost: no heartbeat of {names} until {since.astimezone(UTC):%H:%M:%S} UTC"


def _take_back(
    session: Session,
    run_id: UUID,
    which: ColumnElement[bool],
    why: Callable[[Sequence[PartRow]], str],
) -> int:
    """Take parts back, as one crash of the run. Returns their number.

    An outage that ends several workers counts as a single crash, however late each loss is
    noticed: parts that were claimed before the last counted crash go back without counting.
    """
    run = runs.lock(session, run_id)
    running = and_(PartRow.run_id == run_id, PartRow.state == PartState.RUNNING, which)
    # Heartbeats do not lock the run. Lock the parts, so that no lease is renewed meanwhile.
    parts = session.scalars(select(PartRow).where(running).with_for_update()).all()
    if run is None or not parts:
        return 0
    reason = why(parts)
    these = and_(PartRow.run_id == run_id, PartRow.number.in_([part.number for part in parts]))
    last_crash = session.scalars(select(RunRow.crashed_at).where(RunRow.id == run_id)).one()
    if last_crash and all(part.started_at and part.started_at < last_crash for part in parts):
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
    """Put parts back into the queue, or end them if the run was asked to stop."""
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
    """Record the reason; a running run without a running part becomes queued again."""
    in_progress = exists().where(PartRow.run_id == run_id, PartRow.state == PartState.RUNNING)
    idle = and_(RunRow.state == RunState.RUNNING, ~in_progress)
    state = case((idle, RunState.QUEUED.value), else_=RunRow.state)
    _move_run(session, run_id, state=state, dispatch_count=0, **values)


def _end_failed(session: Session, run_id: UUID, reason: str) -> None:
    unfinished = PartRow.state.in_([PartState.QUEUED, PartState.RUNNING])
    _end(session, and_(PartRow.run_id == run_id, unfinished), PartState.CANCELLED)
    _move_run(session, run_id, state=RunState.FAILED, finished_at=NOW, reason=reason)
    inputs.cancel_dependants(session, run_id)


def _move_run(session: Session, run_id: UUID, **values: Any) -> None:
    """Update the run. Credentials are removed from a reason: all readers of results see it."""
    if isinstance(reason := values.get("reason"), str):
        values["reason"] = without_credentials(reason)
    session.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
