"""A worker's moves on the parts of a run, for the tests of the queue."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import text, update

from analyses.results import NamedTensor
from tracker.database.db import Sessions, transaction
from tracker.domain import PartClaim, RunState
from tracker.store import endings, part_tensors, parts, runs
from tracker.store.part_tensors import PartTensor
from tracker.tables import PartRow
from tracker.working.heartbeat import Beat
from tracker.working.part_tensors import PartTensorWriter


def claim(sessions: Sessions, run_id: UUID, worker: str = "w1", lease: float = 60) -> PartClaim:
    with transaction(sessions) as session:
        claimed = parts.claim(session, run_id, worker=worker, lease=lease)
    assert claimed is not None
    return claimed


def write(
    sessions: Sessions,
    claimed: PartClaim,
    tensors: Mapping[str, NamedTensor],
    beat: Beat = lambda done: None,
) -> list[PartTensor]:
    """Write the chunks of a part's tensors."""
    writer = PartTensorWriter(sessions=sessions, claim=claimed, lease=60, beat=beat)
    return writer.write(tensors)


def end_with(sessions: Sessions, claimed: PartClaim, tensors: Mapping[str, NamedTensor]) -> None:
    """End a part that has measured tensors."""
    written = write(sessions, claimed, tensors)
    with transaction(sessions) as session:
        parts.fence(session, claimed, lease=60)
        part_tensors.insert_part_tensors(session, claimed, written)
        endings.finish_part(session, claimed, provenance={})


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
