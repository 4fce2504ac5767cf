"""Which workers have the memory for which runs. What is not known of either stands in no way."""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tracker.domain import ACTIVE, RunState
from tracker.tables import RunRow, WorkerRow

NOW = func.clock_timestamp()
SEEN = func.make_interval(0, 0, 0, 0, 1)  # how long a worker counts after its last sign of life
FRESH = func.make_interval(0, 0, 0, 0, 0, 1)  # how long it counts as being there


def fits(worker: str | None) -> ColumnElement[bool]:
    """True of a run's row if that worker may take a part of it.

    A worker for large runs alone leaves the others to others. To finish a run takes no model.
    """

    def mine(column: InstrumentedAttribute[int | None]) -> ColumnElement[int | None]:
        return select(column).where(WorkerRow.name == worker).scalar_subquery()

    above = mine(WorkerRow.only_above)
    large = or_(RunRow.needs_memory > above, RunRow.refused_memory >= above)
    return or_(
        RunRow.state == RunState.FINISHING,
        and_(
            func.coalesce(RunRow.needs_memory <= mine(WorkerRow.memory), True),
            func.coalesce(RunRow.refused_memory < mine(WorkerRow.memory), True),
            or_(above.is_(None), func.coalesce(large, False)),
        ),
    )


def some_worker_fits(session: Session, run_id: UUID) -> bool:
    """Whether a worker that was seen within the last hour, stopped or not, may have the memory.

    One that is started again within that time takes the run up.
    """
    could = exists().where(WorkerRow.last_seen > NOW - SEEN, _may_hold())
    return bool(session.scalar(select(RunRow.id).where(RunRow.id == run_id, could)))


def _may_hold() -> ColumnElement[bool]:
    """True of a worker's and a run's rows if the memory of the one is not too small."""
    return and_(
        func.coalesce(RunRow.needs_memory <= WorkerRow.memory, True),
        func.coalesce(RunRow.refused_memory < WorkerRow.memory, True),
    )


def need_in_words() -> ColumnElement[str]:
    """What a run's row is known to need: `18 GB`, or `more than 16 GB`."""
    refused = func.concat("more than ", func.pg_size_pretty(RunRow.refused_memory))
    was_refused = RunRow.refused_memory >= func.coalesce(RunRow.needs_memory, 0)
    return case((was_refused, refused), else_=func.pg_size_pretty(RunRow.needs_memory))


def count_too_large(session: Session) -> int:
    """How many runs wait because no running worker has the memory for them.

    `results.runs` says of each of them what it needs, by the same conditions.
    """
    running = WorkerRow.stopped_at.is_(None), WorkerRow.last_seen > NOW - FRESH
    known = exists().where(*running, WorkerRow.memory.is_not(None))
    nobody = ~exists().where(*running, _may_hold()).correlate(RunRow)
    waiting = RunRow.state.in_([*ACTIVE - {RunState.FINISHING}])
    return session.scalars(
        select(func.count()).select_from(RunRow).where(waiting, known, nobody)
    ).one()


def too_large_in_words(session: Session, run_id: UUID) -> str:
    """What a run needs, the largest worker of the last hour, and what to do."""
    need = session.scalar(select(need_in_words()).where(RunRow.id == run_id))
    name, size = session.execute(
        select(WorkerRow.name, func.pg_size_pretty(WorkerRow.memory))
        .where(WorkerRow.last_seen > NOW - SEEN, WorkerRow.memory.is_not(None))
        .order_by(WorkerRow.memory.desc(), WorkerRow.last_seen.desc())
        .limit(1)
    ).one()
    return (
        f"It needs {need} of memory, and the largest worker of the last hour, {name}, has {size}. "
        "Start a worker with more memory, or add the model in a smaller dtype; then queue it again."
    )
