"""A worker's processes killed while they hold a part of a run."""

import time
from uuid import UUID

import psutil
from sqlalchemy import select
from waits import when

from tracker.database.db import Sessions, transaction
from tracker.domain import PartState
from tracker.tables import PartRow


def kill(sessions: Sessions, run_id: UUID, worker: int, *killed: psutil.Process) -> None:
    """SIGKILL to processes of the worker of this pid, within a part.

    Between two parts a kill costs nothing: look while they are frozen, and try again.
    """

    def within_a_part() -> bool:
        for process in killed:
            process.suspend()
        time.sleep(0.1)  # a commit that is on its way arrives
        held = _holds_a_part(sessions, run_id, worker)
        for process in killed:
            process.kill() if held else process.resume()
        return held

    when(within_a_part, seconds=120)


def _holds_a_part(sessions: Sessions, run_id: UUID, worker: int) -> bool:
    held = (PartRow.run_id == run_id) & (PartRow.state == PartState.RUNNING)
    with transaction(sessions) as session:
        holders = session.scalars(select(PartRow.worker).where(held))
        return any(f":{worker}." in (name or "") for name in holders)
