"""Worker processes, and whether they are alive."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tracker.tables import WorkerRow


@dataclass(frozen=True, kw_only=True)
class WorkerLine:
    """A worker process; `fresh` if it was seen within the last minute."""

    name: str
    device: str
    devices: tuple[str, ...]  # names; empty: not known
    spreads: bool  # whether one model may be spread over all of them
    memory: int | None  # bytes available for a model and its recordings; None: not known
    loaded_model: str | None
    busy_with: str | None
    last_seen: datetime
    fresh: bool


def workers(session: Session) -> list[WorkerLine]:
    """Workers that have not stopped and were seen within the last hour, latest first."""
    age = func.clock_timestamp() - WorkerRow.last_seen
    query = (
        select(WorkerRow, (age < func.make_interval(0, 0, 0, 0, 0, 1)).label("fresh"))
        .where(WorkerRow.stopped_at.is_(None), age < func.make_interval(0, 0, 0, 0, 1))
        .order_by(WorkerRow.last_seen.desc())
    )
    return [
        WorkerLine(
            name=row.name,
            device=row.device,
            devices=tuple(device["name"] for device in row.devices or ()),
            spreads=row.spreads,
            memory=row.memory,
            loaded_model=row.loaded_model,
            busy_with=row.busy_with,
            last_seen=row.last_seen,
            fresh=fresh,
        )
        for row, fresh in session.execute(query)
    ]
