"""A worker's moves on the parts of a run, for the tests of the queue."""

from uuid import UUID

from sqlalchemy import text, update

from tracker.database.db import Sessions, transaction
from tracker.domain import PartClaim, RunState
from tracker.store import endings, parts, runs
from tracker.tables import PartRow


def claim(sessions: Sessions, run_id: UUID, worker: str = "w1", lease: float = 60) -> PartClaim:
    with transaction(sessions) as session:
        claimed = parts.claim(session, run_id, worker=worker, lease=lease)
    assert claimed is not None
    return claimed


def finish(sessions: Sessions, claimed: PartClaim) -> None:
    with transaction(sessions) as session:
        parts.fence(session, claimed, lease=60)
        endings.finish_part(session, claimed, provenance={"host": "here"})


def state_of(sessions: Sessions, run_id: UUID) -> RunState:
    with transaction(sessions) as session:
        return runs.run(session, run_id).state


def expire(sessions: Sessions, claimed: PartClaim) -> None:
    """Let a lease run out without waiting for it."""
    with transaction(sessions) as session:
        session.execute(
            update(PartRow)
            .where(parts.held(claimed))
            .values(lease_expires_at=text("clock_timestamp() - interval '1 second'"))
        )
