"""Which workers have enough memory for which runs. An unknown size never excludes a worker."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tracker.domain import ACTIVE, RunState
from tracker.store import shared_gpus
from tracker.tables import ModelRow, RunRow, WorkerRow

Column = InstrumentedAttribute[int | None]

NOW = func.clock_timestamp()
SEEN = func.make_interval(0, 0, 0, 0, 1)  # 1 hour: a worker seen within it may come back
FRESH = func.make_interval(0, 0, 0, 0, 0, 1)  # 1 minute: a worker seen within it is running


class Need(NamedTuple):
    """Columns of a row: the bytes that it needs, and the bytes that were too few for it."""

    at_least: Column
    refused: Column


RUN = Need(RunRow.needs_memory, RunRow.refused_memory)
PROOF = Need(ModelRow.n_bytes, ModelRow.refused_memory)  # to load a model and prove it


def fits(worker: str | None, need: Need) -> ColumnElement[bool]:
    """True of the row of a run or model that this worker may try.

    A worker for large runs only skips smaller ones; `shared_gpus` decides when it may work.
    """

    def mine(column: Column) -> ColumnElement[int | None]:
        return select(column).where(WorkerRow.name == worker).scalar_subquery()

    above = mine(WorkerRow.only_above)
    large = or_(need.at_least > above, need.refused >= above)
    return and_(
        _may_hold(mine(WorkerRow.memory), need),
        or_(above.is_(None), func.coalesce(large, False)),
        ~shared_gpus.gives_way(worker),
    )


def run_fits(worker: str | None) -> ColumnElement[bool]:
    """As `fits`, for the row of a run. A finishing run needs no model, so any worker fits."""
    return or_(RunRow.state == RunState.FINISHING, fits(worker, RUN))


def some_worker_fits(need: Need) -> ColumnElement[bool]:
    """Whether any worker seen within the last hour, stopped or not, may have enough memory.

    A worker that is restarted within that time can do the work.
    """
    return exists().where(WorkerRow.last_seen > NOW - SEEN, _may_hold(WorkerRow.memory, need))


def _may_hold(memory: ColumnElement[int | None] | Column, need: Need) -> ColumnElement[bool]:
    """True where the memory is not known to be too small."""
    return and_(
        func.coalesce(need.at_least <= memory, True), func.coalesce(need.refused < memory, True)
    )


def need_in_words(need: Need = RUN) -> ColumnElement[str]:
    """The memory that a row is known to need: `18 GB`, or `more than 16 GB`."""
    refused = func.concat("more than ", func.pg_size_pretty(need.refused))
    was_refused = need.refused >= func.coalesce(need.at_least, 0)
    return case((was_refused, refused), else_=func.pg_size_pretty(need.at_least))


def count_too_large(session: Session) -> int:
    """The number of runs that wait because no running worker has enough memory for them.

    The view `results.runs` uses the same conditions for the reason of such a run.
    """
    running = WorkerRow.stopped_at.is_(None), WorkerRow.last_seen > NOW - FRESH
    known = exists().where(*running, WorkerRow.memory.is_not(None))
    none_fits = ~exists().where(*running, _may_hold(WorkerRow.memory, RUN)).correlate(RunRow)
    waiting = RunRow.state.in_([*ACTIVE - {RunState.FINISHING}])
    return session.scalars(
        select(func.count()).select_from(RunRow).where(waiting, known, none_fits)
    ).one()


def too_large_in_words(session: Session, need: Need, of: ColumnElement[bool]) -> str:
    """A message: what the row needs, the largest worker of the last hour, and what to do."""
    needs = session.scalar(select(need_in_words(need)).where(of))
    name, size = session.execute(
        select(WorkerRow.name, func.pg_size_pretty(WorkerRow.memory))
        .where(WorkerRow.last_seen > NOW - SEEN, WorkerRow.memory.is_not(None))
        .order_by(WorkerRow.memory.desc(), WorkerRow.last_seen.desc())
        .limit(1)
    ).one()
    return (
        f"It needs {needs} of memory, and the largest worker of the last hour, {name}, has {size}. "
        "Start a worker with more memory, or add the model in a smaller dtype; then queue it again."
    )
