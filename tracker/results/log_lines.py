"""The log of a run: its events, and what workers logged and printed while they worked on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from analyses.shown import one_line
from tracker.results.views import RUN_LOGS, RUNS

EVENT = "event"  # the level of events
_SETTLED = 3  # seconds after the end of a run during which workers may still write lines


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """An event or a logged line; `level` is `EVENT` or a `LogLevel`."""

    at: datetime
    part: int | None  # None: the run itself
    epoch: int | None
    worker: str | None
    level: str
    line: str


class Read(NamedTuple):
    """A position in a log: the highest sequence numbers read so far."""

    events: int = 0
    lines: int = 0


BEGINNING = Read()


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """The new lines of a log, in order of time."""

    lines: Sequence[LogLine]
    cut: bool  # whether older lines were left out
    live: bool  # whether more lines may follow
    read: Read  # position after these lines


def run_log(
    session: Session,
    run_id: UUID,
    *,
    part: int | None = None,
    after: Read = BEGINNING,
    last: int | None = None,
) -> RunLog:
    """The log of a run or of one of its parts, after a position; at most the `last` lines."""
    live = _live(session, run_id)  # read first: if the log has ended, no line can be missed
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
    """The log line as one line of text; the time is UTC."""
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
    """The rows after sequence number `after`, in order; at most the newest `last` + 1."""
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
