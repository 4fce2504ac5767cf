"""The same moves on the tables, each one transaction of the store's functions."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from tracker.domain import PartClaim, PartKind
from tracker.store import endings, parts, publications, runs
from tracker.tables import PartRow

from . import moves
from .queue_model import Move

_SEEN = """
SELECT run.state, attempt, crashes, cancel_requested_at IS NOT NULL,
       publication.state = 'published', held_until IS NOT NULL,
       (SELECT json_agg(json_build_array(number, part.state, epoch, worker) ORDER BY number)
        FROM headbook.part WHERE run_id = run.id)
FROM headbook.run JOIN headbook.publication ON run_id = run.id WHERE run.id = :run"""


def do(session: Session, move: Move) -> Any:
    """Make the move; its answer, as the model gives it. Raises `LeaseLost`, `CancelSeen`."""
    return _MOVES[move.kind](session, move)


def seen(session: Session, run_id: UUID) -> tuple[object, ...]:
    """All that can be seen of a run."""
    *facts, found = session.execute(text(_SEEN), {"run": run_id}).one()
    return *facts, [tuple(each) for each in found]


def _claim(session: Session, move: Move) -> PartClaim | None:
    return parts.claim(session, move.run_id, worker=move.worker, lease=3600)


def _held(move: Move) -> PartClaim:
    assert move.claim is not None
    return move.claim


def _hold(move: Move) -> datetime:
    assert move.hold is not None
    return move.hold


def _commit(session: Session, move: Move) -> None:
    claim, run = _held(move), runs.run(session, move.run_id)
    if claim.kind is PartKind.FINISH:
        moves.end_run(session, claim, run)
    else:
        moves.end_part(session, claim, run.model_id)


def _expire(session: Session, move: Move) -> None:
    past = text("clock_timestamp() - interval '1 second'")
    mine = update(PartRow).where(parts.held(_held(move)))
    session.execute(mine.values(lease_expires_at=past))


def _fail(session: Session, move: Move) -> None:
    endings.fail(session, _held(move), reason="the analysis raised")


_MOVES: dict[str, Callable[[Session, Move], Any]] = {
    "claim": _claim,
    "heartbeat": lambda session, move: parts.heartbeat(session, _held(move), lease=3600),
    "commit": _commit,
    "fail": _fail,
    "cancelled": lambda session, move: endings.cancelled(session, _held(move)),
    "release": lambda session, move: endings.release(session, _held(move), reason="stopped"),
    "retry": lambda session, move: endings.retry(session, _held(move), reason="oom"),
    "too_small": lambda session, move: endings.too_small(
        session, _held(move), worker=move.worker, reason="oom"
    ),
    "expire": _expire,
    "reap": lambda session, move: endings.reap(session, move.run_id),
    "cancel": lambda session, move: runs.cancel(session, move.run_id) and None,
    "take": lambda session, move: publications.take(session, move.run_id),
    "renew": lambda session, move: publications.renew(session, move.run_id, _hold(move)),
    "published": lambda session, move: publications.published(session, move.run_id, _hold(move)),
    "not_published": lambda session, move: publications.not_published(
        session, move.run_id, _hold(move), "away"
    ),
    "reopen": lambda session, move: publications.reopen(session, move.run_id),
}
