"""Proves models on the workers that will run them, and records the outcome."""

import time
from collections.abc import Callable
from typing import Any

from structlog import get_logger

from analyses.errors import Refused
from analyses.foreign import DoesNotFit, is_out_of_memory, said_by
from analyses.pretrained import TooLarge
from analyses.shown import in_lines
from tracker.database.db import NotMigrated, TroubledDatabase, passes, patiently, transaction
from tracker.domain import ProofClaim
from tracker.errors import TrackerError
from tracker.secrets.urls import first_line, without_credentials
from tracker.store import models, proofs
from tracker.store.parts import LeaseLost
from tracker.working import room
from tracker.working.context import WorkerContext
from tracker.working.finishing import NotHere
from tracker.working.heartbeat import OutOfTime, Released, kept_alive

log = get_logger(__name__)

_HEAD_START = 5.0  # seconds during which only other workers may try, after this one could not


def prove_next(context: WorkerContext) -> bool:
    """Prove a waiting model. False if no model waits."""
    since = time.monotonic()
    if since < context.no_proof_before:
        return False
    with transaction(context.sessions) as session:
        claim = proofs.claim(session, worker=context.name, lease=context.limits.lease)
    if claim is None:
        return False
    try:
        with kept_alive(
            claim,
            since=since,
            sessions=context.aside,
            limits=context.limits,
            stop=context.stop,
            give_up=lambda verdict: _settle(context, claim, verdict),
            renew=proofs.heartbeat,
        ) as beat:
            room.wait_for(context, beat)
            _prove(context, claim)
            beat(0)
            patiently(context.sessions, lambda session: proofs.proved(session, claim))
    except Exception as error:
        _settle(context, claim, error)
    else:
        log.info("model proved", model=claim.model_id)
    return True


def _prove(context: WorkerContext, claim: ProofClaim) -> None:
    """Load the model, which proves it and records its shape, and keep it loaded for its runs."""
    with transaction(context.sessions) as session:
        model = models.model(session, claim.model_id)
    context.language_model(model)
    context.show(busy_with=None)  # who needs its GPU waits until it is dropped


def _settle(context: WorkerContext, claim: ProofClaim, error: Exception) -> None:
    """Record in the database how the proof ended. Does nothing if the lease was lost."""
    logger = log.bind(model=claim.model_id, error=str(error))

    def end(how: Callable[..., object], reason: str, **why: Any) -> None:
        text = in_lines(reason)
        patiently(context.sessions, lambda session: how(session, claim, reason=text, **why))

    logger.warning("a model was not proved")
    if isinstance(error, LeaseLost):
        return
    if isinstance(error, Released):
        end(proofs.release, "released: its worker was stopped")
    elif isinstance(error, NotMigrated) or passes(error):
        context.no_proof_before = time.monotonic() + _HEAD_START
        end(proofs.release, "released: the database was away")
    elif isinstance(error, TroubledDatabase | OutOfTime):
        end(proofs.retry, str(error))
    elif isinstance(error, NotHere):
        context.no_proof_before = time.monotonic() + _HEAD_START
        end(proofs.retry, f"{context.name}: {error}")
    elif isinstance(error, TooLarge | DoesNotFit) or is_out_of_memory(error):
        _end_too_large(context, error, end)
    elif isinstance(error, Refused | TrackerError):
        end(proofs.refuse, str(error))
    else:
        logger.error("the proof raised", exc_info=error)
        end(proofs.refuse, f"error: {without_credentials(said_by(error))}")


def _end_too_large(context: WorkerContext, error: Exception, end: Callable[..., None]) -> None:
    """Retry if other models took up memory here, otherwise leave it to a larger worker."""
    had_other_models = bool(context.loaded.ids)
    context.loaded.drop_all()
    reason = str(error) if isinstance(error, Refused) else f"oom: {first_line(error)}"
    if had_other_models:
        end(proofs.retry, reason)
    else:
        end(proofs.too_small, reason, worker=context.name)
