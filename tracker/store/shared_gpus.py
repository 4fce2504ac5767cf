"""GPUs shared by single-GPU workers and a worker that spreads models over several GPUs.

While the spreading worker works or holds a model, the others claim nothing and drop their models;
it waits for that before it loads one. GPUs are identified by UUID, which differs between hosts.
"""

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from tracker.domain import PartState, ProofState
from tracker.tables import ModelRow, PartRow, WorkerRow

NOW = func.clock_timestamp()
FRESH = func.make_interval(0, 0, 0, 0, 0, 1)

_other, _mine = aliased(WorkerRow), aliased(WorkerRow)


def gives_way(worker: str | None) -> ColumnElement[bool]:
    """True while a spreading worker uses the GPU of this worker."""
    return exists(
        select(_other.name)
        .select_from(_mine)
        .join(_other, _other.devices.contains(_mine.devices))
        .where(_mine.name == worker, ~_mine.spreads, _other.spreads, _uses_memory())
        .offset(0)
    )


def has_to_make_room(session: Session, *, worker: str) -> bool:
    """Whether the worker holds models on a GPU that a spreading worker needs now."""
    holds = exists().where(WorkerRow.name == worker, WorkerRow.loaded_model.is_not(None))
    return bool(session.scalar(select(and_(holds, gives_way(worker)))))


def are_taken(session: Session, *, worker: str) -> bool:
    """Whether another worker still uses a GPU of this spreading worker."""
    taken = exists(
        select(_other.name)
        .select_from(_mine)
        .join(_other, _other.devices.contained_by(_mine.devices))
        .where(_mine.name == worker, _mine.spreads, ~_other.spreads, _uses_memory())
    )
    return bool(session.scalar(select(taken)))


def _uses_memory() -> ColumnElement[bool]:
    """True of the other worker while it is running, and works or holds a model."""
    works = exists().where(PartRow.worker == _other.name, PartRow.state == PartState.RUNNING)
    proves = exists().where(
        ModelRow.proof_worker == _other.name, ModelRow.proof == ProofState.PROVING
    )
    running = and_(_other.stopped_at.is_(None), _other.last_seen > NOW - FRESH)
    return and_(running, or_(_other.loaded_model.is_not(None), works, proves))
