"""How a part ends that could not be done: it fails, is retried, or is released to the queue."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session
from structlog import get_logger

from analyses.errors import Refused
from analyses.foreign import DoesNotFit, is_out_of_memory, said_by
from analyses.pretrained import TooLarge
from analyses.shown import in_lines
from tracker.database.db import NotMigrated, TroubledDatabase, passes, patiently
from tracker.domain import PartClaim
from tracker.errors import TrackerError
from tracker.publishing.mlflow_errors import MlflowUnavailable
from tracker.publishing.spool import CannotKeep
from tracker.secrets.urls import first_line, without_credentials
from tracker.store import endings, models, runs
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.working.context import WorkerContext
from tracker.working.finishing import NotHere, origin_of
from tracker.working.heartbeat import OutOfTime, Released

log = get_logger(__name__)

_MLFLOW_WAIT = 15.0  # seconds until the retry of a run that could not store its tensors
_SCHEMA_WAIT = 5.0  # seconds until the retry of a run after a mismatch of the schema
_HEAD_START = 5.0  # seconds for other workers to try first what this one cannot do


def settle(context: WorkerContext, claim: PartClaim, error: Exception) -> None:
    """Record in the database how the part ended; a no-op if the lease is lost."""
    logger = log.bind(run_id=str(claim.run_id), part=claim.number)

    def end(how: Callable[..., object], **why: Any) -> None:
        if "reason" in why:  # it may contain what Postgres cannot store
            why["reason"] = in_lines(why["reason"])
        patiently(context.sessions, lambda session: how(session, claim, **why))

    if isinstance(error, LeaseLost):
        logger.warning("the lease was lost; the results are dropped")
    elif isinstance(error, CancelSeen):
        end(endings.cancelled)
    elif isinstance(error, Released):
        end(endings.release, reason="released: its worker was stopped")
    elif isinstance(error, OutOfTime):
        logger.warning("out of time", error=str(error))
        end(endings.retry, reason=f"{error}{_brought_by(context, claim)}")
    elif isinstance(error, MlflowUnavailable):
        logger.warning("MLflow is not available", error=str(error))
        end(endings.release, wait=_MLFLOW_WAIT, reason=f"waiting for MLflow: {error}")
    elif isinstance(error, CannotKeep):
        logger.warning("the disk of this worker is full", error=str(error))
        context.avoid[claim.run_id] = time.monotonic() + _MLFLOW_WAIT + _HEAD_START
        end(
            endings.release,
            wait=_MLFLOW_WAIT,
            reason=f"waiting for room on {context.name}: {error}",
        )
    elif isinstance(error, NotHere):
        logger.warning("this worker cannot do the part", error=str(error))
        context.avoid[claim.run_id] = time.monotonic() + _HEAD_START
        end(endings.retry, reason=f"{context.name}: {error}")
    elif isinstance(error, NotMigrated):
        logger.warning("the schema is of another version; the part is released", error=str(error))
        end(endings.release, wait=_SCHEMA_WAIT, reason=f"waiting for the schema: {error}")
    elif passes(error):
        logger.warning("the database is not available; the part is released", error=str(error))
        end(endings.release, reason="released: the database was away")
    elif isinstance(error, TroubledDatabase):
        logger.warning("the database failed; the part is retried", error=str(error))
        end(endings.retry, reason=str(error))
    elif isinstance(error, TooLarge | DoesNotFit) or is_out_of_memory(error):
        logger.warning("out of memory", error=str(error))
        _end_too_large(context, claim, error, end)
    elif isinstance(error, Refused | TrackerError):
        end(endings.fail, reason=f"{error}{_brought_by(context, claim)}")
    else:
        logger.error("the analysis raised", exc_info=error)
        end(endings.fail, reason=_in_words(context, claim, error))


def _end_too_large(
    context: WorkerContext, claim: PartClaim, error: Exception, end: Callable[..., None]
) -> None:
    """Another worker may have the memory; beside other models this one may have it itself."""
    run = patiently(context.sessions, lambda session: runs.run(session, claim.run_id))
    beside = set(context.loaded.ids) - {run.model_id}
    context.loaded.drop_all()
    said = str(error) if isinstance(error, Refused) else f"oom: {first_line(error)}"
    reason = f"{said}{_brought_by(context, claim)}"
    if beside:
        end(endings.retry, reason=reason)
    else:
        end(endings.too_small, worker=context.name, reason=reason)


def _in_words(context: WorkerContext, claim: PartClaim, error: Exception) -> str:
    """The reason for an unexpected exception, with the analysis and the model's family."""

    def subject(session: Session) -> tuple[str, str]:
        run = runs.run(session, claim.run_id)
        return run.analysis, models.model(session, run.model_id).family

    analysis, family = patiently(context.sessions, subject)
    return (
        f"error: {analysis!r} of a {family!r} model ended with "
        f"{without_credentials(said_by(error))}. The run's log has the traceback: "
        f"headbook runs logs {claim.run_id}{_brought_by(context, claim)}"
    )


def _brought_by(context: WorkerContext, claim: PartClaim) -> str:
    """A note about the package that the analysis of a part comes from; empty for our own."""
    run = patiently(context.sessions, lambda session: runs.run(session, claim.run_id))
    origin = origin_of(run)
    return f" ({run.analysis!r} is of the package {origin})" if origin else ""
