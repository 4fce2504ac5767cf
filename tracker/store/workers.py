"""Worker processes: their devices and memory, what they work on, and when they were last seen."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.devices import Capability
from tracker.tables import WorkerRow

NOW = func.clock_timestamp()


def seen(
    session: Session,
    *,
    name: str,
    host: str,
    pid: int,
    device: str,
    capability: Capability | None = None,
    only_above: int | None = None,
) -> None:
    """Record that a worker is running, and its capability; None: not known."""
    facts: dict[str, Any] = {
        "name": name,
        "host": host,
        "pid": pid,
        "device": device,
        "only_above": only_above,
    }
    if capability is not None:
        facts |= {
            "devices": [asdict(each) for each in capability.devices],
            "spreads": capability.spreads,
            "memory": capability.memory,
            "host_memory": capability.host_memory,
        }
    session.execute(
        insert(WorkerRow)
        .values(**facts)
        .on_conflict_do_update(
            index_elements=[WorkerRow.name], set_={"last_seen": NOW, "stopped_at": None}
        )
    )


def works_on(
    session: Session,
    *,
    name: str,
    run_id: str | None,
    loaded_model: str | None,
    device: str | None,
) -> None:
    """Record the run that a worker is busy with, if any, and the model in its memory."""
    session.execute(
        update(WorkerRow)
        .where(WorkerRow.name == name)
        .values(
            busy_with=run_id,
            loaded_model=loaded_model,
            device=func.coalesce(device, WorkerRow.device),
            last_seen=NOW,
        )
    )


def stopped(session: Session, *, name: str) -> None:
    """Record that a worker has stopped."""
    session.execute(
        update(WorkerRow).where(WorkerRow.name == name).values(stopped_at=NOW, busy_with=None)
    )


def live(session: Session) -> int:
    """The number of workers seen within the last minute that have not stopped."""
    fresh = WorkerRow.last_seen > NOW - func.make_interval(0, 0, 0, 0, 0, 1)
    count = select(func.count()).where(WorkerRow.stopped_at.is_(None), fresh)
    return session.scalars(count).one()
