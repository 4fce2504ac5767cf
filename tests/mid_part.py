"""A worker's processes killed while they hold a part of a run."""

import time
from uuid import UUID

import psutil
from sqlalchemy import select

from tracker.db import Sessions, transaction
from tracker.domain import PartState
from tracker.tables import PartRow

PATIENCE = 120.0  # seconds


def kill(sessions: Sessions, run_id: UUID, worker: int, *killed: psutil.Process) -> None:
    """SIGKILL to processes of the worker of this pid, within a part.

    Between two parts a kill costs nothing: look while they are frozen, and try again.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for process in killed:
            process.suspend()
        time.sleep(0.1)  # a commit that is on its way arrives
        if _holds_a_part(sessions, run_id, worker):
            for process in killed:
                process.kill()
            return
        for process in killed:
            process.resume()
        time.sleep(0.1)
    raise AssertionError(f"worker {worker} held no part of run {run_id} within {PATIENCE} s")


def _holds_a_part(sessions: Sessions, run_id: UUID, worker: int) -> bool:
    held = (PartRow.run_id == run_id) & (PartRow.state == PartState.RUNNING)
    with transaction(sessions) as session:
        holders = session.scalars(select(PartRow.worker).where(held))
        return any(f":{worker}." in (name or "") for name in holders)
