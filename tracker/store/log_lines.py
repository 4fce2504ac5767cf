"""Writes the lines of the logs of runs, in the order in which they were logged."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from tracker.domain import PartClaim, SaidLine
from tracker.store.scores import copy_rows
from tracker.tables import RunLogRow

_LOCK = 7_309_460  # key of the advisory lock of everyone who writes lines; an arbitrary number
_COLUMNS = ("run_id", "at", "part", "epoch", "worker", "level", "line")


class Kept(NamedTuple):
    """How many lines of a claim are stored, and the time of the last one."""

    lines: int = 0
    until: datetime = datetime.min.replace(tzinfo=UTC)


def insert_lines(
    session: Session,
    claim: PartClaim,
    lines: Sequence[SaidLine],
    *,
    worker: str,
    kept: Kept,
    in_doubt: bool = False,
) -> Kept:
    """Add lines of a claim, even if its part was taken back or its run has ended.

    Writers of one run take turns, so that `seq` rises with the commits, and a reader who has seen
    one number has missed none below it. `in_doubt`: it is not known whether the last commit
    succeeded; lines that it stored are not written again.
    """
    # Do not wait for the disk: if Postgres crashes, the last lines may be lost.
    session.execute(text("SET LOCAL synchronous_commit TO off"))
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(str(claim.run_id)))))
    new = lines[_count(session, claim) - kept.lines :] if in_doubt else lines
    times = _times(session, new, not_before=kept.until)
    rows = (
        (claim.run_id, at, claim.number, claim.epoch, worker, said.level.value, said.line)
        for at, said in zip(times, new, strict=True)
    )
    copy_rows(session, RunLogRow, _COLUMNS, rows)
    return Kept(kept.lines + len(lines), times[-1] if times else kept.until)


def _times(
    session: Session, lines: Sequence[SaidLine], *, not_before: datetime
) -> Sequence[datetime]:
    """The times of lines by the database's clock; the worker's clock only gives their age.

    The database's clock is read before the worker's, so no line appears later than it was.
    """
    now = session.scalars(select(func.clock_timestamp())).one()
    here = time.monotonic()
    return [max(not_before, now - timedelta(seconds=here - said.at)) for said in lines]


def _count(session: Session, claim: PartClaim) -> int:
    query = select(func.count()).where(
        RunLogRow.run_id == claim.run_id,
        RunLogRow.part == claim.number,
        RunLogRow.epoch == claim.epoch,
    )
    return session.scalars(query).one()
