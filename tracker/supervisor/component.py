"""A component of the stack: restarted when it dies, with increasing delays."""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracker.supervisor.errors import StartFailed, last_lines
from tracker.supervisor.guard import Child, Guard
from tracker.supervisor.process import Command, Process

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before a restart
CALM = 60.0  # seconds of uptime after which earlier deaths no longer count
DEATHS_AT_START = 3
START_SECONDS = 180.0
LONGEST_LINE = 200  # characters


@dataclass(frozen=True, kw_only=True)
class Service:
    """A command, and how to tell that it is ready."""

    command: Command
    ready: Callable[[], bool] = lambda: True
    address: str | None = None  # shown to people, without a password
    mend: Callable[[], str | None] = lambda: (
        None
    )  # after it died before it was ready; returns what was done


class Component:
    """A service and its current process."""

    def __init__(self, service: Service, guard: Guard) -> None:
        self.service = service
        self.process: Process | None = None
        self.ready = False
        self.was_ready = False
        self.restarts = 0
        self.last_end: str | None = None  # how its last process died; None if it was asked to stop
        self._deaths = 0
        self._guard = guard
        self._begun = 0.0
        self._not_before = 0.0

    @property
    def name(self) -> str:
        return self.service.command.name

    @property
    def state(self) -> str:
        if self.process is None:
            return "restarting" if self._deaths else "stopped"
        return "running" if self.ready else "starting"

    def start(self) -> None:
        command = self.service.command
        try:
            self.process = Process(command)
        except OSError as error:
            raise StartFailed(self.name, str(error), command.log) from None
        self._begun = time.monotonic()
        self._guard.watch(
            Child(self.process.pid, self.process.started, int(command.stop_signals[0]))
        )
        logger.info("started %s (pid %d)", self.name, self.process.pid)

    def tend(self) -> None:
        """Check it once, restarting it if needed; raises `StartFailed` if it is never ready."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._not_before:
                self.restarts += 1
                self.start()
        elif self.process.exit_code is not None:
            self._handle_death(self.process, now)
        elif not self.ready:
            self._check_ready(now)
        elif now - self._begun > CALM:
            self._deaths = 0

    def ask_to_stop(self) -> None:
        if self.process:
            self.process.ask_to_stop()

    def finish(self, hurry: Callable[[], bool]) -> None:
        """Wait until it has stopped; kill it as soon as `hurry` says so."""
        if self.process:
            self.process.finish(hurry)
            logger.info("stopped %s (exit %s)", self.name, self.process.exit_code)
            self.process, self.ready = None, False

    def _check_ready(self, now: float) -> None:
        lived = now - self._begun
        if self.service.ready():
            self.ready = self.was_ready = True
            logger.info("%s is ready after %.1f s", self.name, lived)
        elif not self.was_ready and lived > START_SECONDS:
            raise StartFailed(self.name, f"not ready after {lived:.0f} s", self._log)

    def _handle_death(self, process: Process, now: float) -> None:
        process.kill()  # whatever children it left
        self._deaths += 1
        self.last_end = _how(process)
        if not self.ready and (mended := self.service.mend()):
            self.last_end = f"{self.last_end}; {mended}"
        self.process, self.ready = None, False
        pause = min(FIRST_PAUSE * 2 ** (self._deaths - 1), LONGEST_PAUSE)
        self._not_before = now + pause
        logger.warning(
            "%s died (%s); restarting it in %.1f s. Log: %s",
            *(self.name, self.last_end, pause, self._log),
        )
        if not self.was_ready and self._deaths >= DEATHS_AT_START:
            reason = f"it exited {self._deaths} times, last with code {process.exit_code}"
            raise StartFailed(self.name, reason, self._log)

    @property
    def _log(self) -> Path:
        return self.service.command.log


def _how(process: Process) -> str:
    """How a process ended, with the last line of its log."""
    code = process.exit_code or 0
    how = f"exit {code}" if code >= 0 else f"killed by {_signal(-code)}"
    said = last_lines(process.command.log, 1).strip()
    return f"{how}, last line of its log: {said[:LONGEST_LINE]}" if said else how


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
