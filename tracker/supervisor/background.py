"""Runs a stack in the background: the same command, in its own session."""

import os
import subprocess
import time
from pathlib import Path

from tracker.errors import TrackerError
from tracker.home.home import Home, StackState
from tracker.settings import environment
from tracker.supervisor import folders
from tracker.supervisor.errors import HomeNotWritable, last_lines
from tracker.supervisor.process import log_file

COMMAND = (*environment.PYTHON, "-m", "tracker.cli", "up")
SECONDS = 300.0


class NotReady(TrackerError):
    def __init__(self, log: Path, seconds: float) -> None:
        super().__init__(
            f"The stack is not ready after {seconds:.0f} s; it is still starting. "
            f"Check `headbook status`, or stop it with `headbook down`. Log: {log}."
        )


class DidNotStart(TrackerError):
    def __init__(self, log: Path) -> None:
        super().__init__(
            f"The stack failed to start. Last lines of its log ({log}):{last_lines(log, 12)}"
        )


def start(home: Home, *, command: tuple[str, ...] = COMMAND) -> StackState:
    """Start a supervisor that outlives this process, and wait until every component is ready."""
    log = home.log("up")
    try:
        home.make()
        folders.private(home.logs)
        log.unlink(missing_ok=True)
        with log_file(log) as output:
            supervisor = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # it prints sign-in links
                stderr=output,
                env=environment.made(os.environ) | {"HEADBOOK_HOME": str(home.root)},
                start_new_session=True,
            )
    except OSError as error:
        raise HomeNotWritable(home.root, error) from None
    return _wait(home, supervisor, log)


def _wait(home: Home, supervisor: subprocess.Popen[bytes], log: Path) -> StackState:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if (state := home.running()) and state.pid == supervisor.pid:
            supervisor.returncode = 0  # it outlives us on purpose: no ResourceWarning
            return state
        if supervisor.poll() is not None:
            raise DidNotStart(log)
        time.sleep(0.1)
    raise NotReady(log, SECONDS)
