"""What happened to a run, and what was said while its parts were worked on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from analyses.shown import one_line
from tracker.results.views import RUN_LOGS, RUNS

EVENT = "event"  # the level of what happened
_SETTLED = 3  # seconds after its end in which workers may still write what was said of a run


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """Something that happened or was said; `level` is `EVENT` or a `LogLevel`."""

    at: datetime
    part: int | None  # None: the run itself
    epoch: int | None
    worker: str | None
    level: str
    line: str


class Read(NamedTuple):
    """How far a log was read, by numbers that rise with the commits of a run."""

    events: int = 0
    lines: int = 0


BEGINNING = Read()


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """What was not read yet of a log, in the order of time."""

    lines: Sequence[LogLine]
    cut: bool  # whether older lines were left out
    live: bool  # whether more may come
    read: Read


def run_log(
    session: Session,
    run_id: UUID,
    *,
    part: int | None = None,
    after: Read = BEGINNING,
    last: int | None = None,
) -> RunLog:
    """The log of a run, or of one of its parts; of long ones the `last` lines only."""
    live = _live(session, run_id)  # looked at first, so that a log that has ended is whole
    events = _newest(session, RUN_LOGS.c.level == EVENT, run_id, part, after.events, last)
    lines = _newest(session, RUN_LOGS.c.level != EVENT, run_id, part, after.lines, last)
    together = sorted(map(_line_of, [*events, *lines]), key=lambda line: line.at)
    cut = last is not None and len(together) > last
    return RunLog(
        lines=together[-last:] if last else together,
        cut=cut,
        live=live,
        read=Read(
            events=max((row.seq for row in events), default=after.events),
            lines=max((row.seq for row in lines), default=after.lines),
        ),
    )


def as_text(line: LogLine) -> str:
    """A line as it is shown, always one; the time is UTC."""
    about = "run" if line.part is None else f"part {line.part}"
    worker = f" on {line.worker}" if line.worker else ""
    level = "" if line.level == EVENT else f"{line.level}: "
    at = line.at.astimezone(UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
    return one_line(f"{at} {about}{worker}: {level}{line.line}")


def _live(session: Session, run_id: UUID) -> bool:
    lately = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, _SETTLED)
    query = select(or_(RUNS.c.finished_at.is_(None), RUNS.c.finished_at > lately))
    return bool(session.scalars(query.where(RUNS.c.run_id == run_id)).one())


def _newest(
    session: Session,
    kind: ColumnElement[bool],
    run_id: UUID,
    part: int | None,
    after: int,
    last: int | None,
) -> Sequence[Any]:
    """What is newer than `after`, in order; one more than `last`, where more there are."""
    log = RUN_LOGS.c
    query = select(RUN_LOGS).where(log.run_id == run_id, kind, log.seq > after)
    if part is not None:
        query = query.where(log.part == part)
    if last is None:
        return session.execute(query.order_by(log.seq)).all()
    return session.execute(query.order_by(log.seq.desc()).limit(last + 1)).all()[::-1]


def _line_of(row: Any) -> LogLine:
    return LogLine(
        at=row.at,
        part=row.part,
        epoch=row.epoch,
        worker=row.worker,
        level=row.level,
        line=row.line,
    )
