"""Claims proofs of models under a lease, and fences them by epoch.

As for parts, each change is one conditional statement: if it returns no row, the claim was lost.
"""

from sqlalchemy import ColumnElement, and_, case, func, null, or_, select, update
from sqlalchemy.orm import Session

from tracker.domain import ProofClaim, ProofState
from tracker.secrets.urls import without_credentials
from tracker.store import memory
from tracker.store.parts import NOW, LeaseLost, seconds
from tracker.tables import ModelRow, WorkerRow

MOST_ATTEMPTS = 3


def waits(worker: str | None) -> ColumnElement[bool]:
    """True of the row of a model whose proof waits, and which that worker may try.

    A proof whose lease has expired waits again.
    """
    lost = and_(ModelRow.proof == ProofState.PROVING, ModelRow.proof_expires_at < NOW)
    return and_(or_(ModelRow.proof == ProofState.UNPROVED, lost), memory.fits(worker, memory.PROOF))


def any_waits(session: Session, *, worker: str) -> bool:
    """Whether a proof waits that this worker may try."""
    return bool(session.scalar(select(ModelRow.id).where(waits(worker)).limit(1)))


def claim(session: Session, *, worker: str, lease: float) -> ProofClaim | None:
    """Claim the oldest waiting proof for `worker`, with a lease of `lease` seconds; None if none.

    A model whose proof has already lost `MOST_ATTEMPTS` workers is refused instead.
    """
    first = select(ModelRow.id).where(waits(worker)).order_by(ModelRow.id).limit(1)
    chosen = first.with_for_update(skip_locked=True, key_share=True).scalar_subquery()
    spent = ModelRow.proof_attempts >= MOST_ATTEMPTS
    row = session.execute(
        update(ModelRow)
        .where(ModelRow.id == chosen)
        .values(
            proof=case((spent, ProofState.REFUSED.value), else_=ProofState.PROVING.value),
            proof_reason=case(
                (spent, func.concat("its proof has ended ", MOST_ATTEMPTS, " workers")),
                else_=null(),
            ),
            proof_epoch=ModelRow.proof_epoch + 1,
            proof_worker=case((spent, null()), else_=worker),
            proof_expires_at=case((spent, null()), else_=NOW + seconds(lease)),
            proof_attempts=ModelRow.proof_attempts + 1,
        )
        .returning(ModelRow.id, ModelRow.proof_epoch, ModelRow.proof)
    ).one_or_none()
    if row is None or row.proof != ProofState.PROVING:
        return None
    return ProofClaim(row.id, row.proof_epoch)


def held(claim: ProofClaim) -> ColumnElement[bool]:
    """True of the model's row while the claim still holds its proof."""
    return and_(
        ModelRow.id == claim.model_id,
        ModelRow.proof_epoch == claim.epoch,
        ModelRow.proof == ProofState.PROVING,
    )


def heartbeat(session: Session, claim: ProofClaim, *, lease: float, done: int) -> bool:
    """Renew the lease. False: a proof cannot be asked to stop. Raises `LeaseLost`."""
    renewed = update(ModelRow).where(held(claim)).values(proof_expires_at=NOW + seconds(lease))
    if session.scalar(renewed.returning(ModelRow.id)) is None:
        raise LeaseLost(claim)
    return False


def proved(session: Session, claim: ProofClaim) -> None:
    """Record that the model is proved, so that its runs can start. Raises `LeaseLost`."""
    if not _end(session, claim, ProofState.PROVED, proved_at=NOW):
        raise LeaseLost(claim)


def refuse(session: Session, claim: ProofClaim, *, reason: str) -> None:
    """Refuse the model; its runs fail with the reason."""
    _end(session, claim, ProofState.REFUSED, reason=reason)


def release(session: Session, claim: ProofClaim, *, reason: str) -> None:
    """Return the proof to the queue without counting an attempt."""
    fewer = ModelRow.proof_attempts - 1
    _end(session, claim, ProofState.UNPROVED, reason=reason, proof_attempts=fewer)


def retry(session: Session, claim: ProofClaim, *, reason: str) -> None:
    """Return the proof to the queue after a failed attempt; after the last, refuse the model."""
    spent = ModelRow.proof_attempts >= MOST_ATTEMPTS
    state = case((spent, ProofState.REFUSED.value), else_=ProofState.UNPROVED.value)
    _end(session, claim, state, reason=reason)


def too_small(session: Session, claim: ProofClaim, *, worker: str, reason: str) -> None:
    """Return the proof to the queue, without counting an attempt, for workers with more memory.

    If no worker of the last hour may have more, the model is refused; see `endings.too_small`.
    """
    worker_memory = select(WorkerRow.memory).where(WorkerRow.name == worker).scalar_subquery()
    refused = session.scalar(
        update(ModelRow)
        .where(held(claim), worker_memory.is_not(None))
        .values(refused_memory=func.greatest(ModelRow.refused_memory, worker_memory))
        .returning(ModelRow.refused_memory)
    )
    model_row = ModelRow.id == claim.model_id
    if refused is None:
        retry(session, claim, reason=reason)
    elif session.scalar(select(memory.some_worker_fits(memory.PROOF)).where(model_row)):
        release(session, claim, reason=f"too large for {worker}: {reason}")
    else:
        advice = memory.too_large_in_words(session, memory.PROOF, model_row)
        refuse(session, claim, reason=f"{reason.rstrip('.')}. {advice}")


def _end(
    session: Session,
    claim: ProofClaim,
    state: ProofState | ColumnElement[str],
    *,
    reason: str | None = None,
    **values: object,
) -> bool:
    """End the claim; False if it was lost. Credentials are removed from the reason."""
    ended = (
        update(ModelRow)
        .where(held(claim))
        .values(
            proof=state,
            proof_reason=None if reason is None else without_credentials(reason),
            proof_epoch=ModelRow.proof_epoch + 1,
            proof_worker=None,
            proof_expires_at=None,
            **values,
        )
    )
    return session.scalar(ended.returning(ModelRow.id)) is not None
