"""Waiting for a condition, with a timeout."""

import time
from collections.abc import Callable

from tracker.supervisor.errors import StartFailed
from tracker.supervisor.process import Process

STEP = 0.05  # seconds


def passes(check: Callable[[], bool], *, seconds: float) -> bool:
    """Whether the check became true within that many seconds."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP)
    return True


def until(check: Callable[[], bool], *, process: Process, seconds: float) -> None:
    """Wait for a process to be ready; raises `StartFailed` if it exits or takes longer."""
    command = process.command
    if not passes(lambda: process.exit_code is not None or check(), seconds=seconds):
        raise StartFailed(command.name, f"not ready after {seconds:.0f} s", command.log)
    if process.exit_code is not None:
        raise StartFailed(command.name, f"it exited with code {process.exit_code}", command.log)
