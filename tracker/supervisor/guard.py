"""A small process that outlives a killed supervisor to end the processes it left behind.

Its standard input is a pipe on which the supervisor names its children; when the pipe closes, the
supervisor is gone. The kernel has signalled its children then (PDEATHSIG), but not theirs, and
some ignore the death of a parent.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from tracker.settings import environment
from tracker.supervisor import sessions

GRACE = 5.0  # seconds to exit by themselves
STEP = 0.1


@dataclass(frozen=True)
class Child:
    """A process started by the supervisor, and the signal that asks it to stop."""

    pid: int
    started: float
    stop_signal: int

    @classmethod
    def parse(cls, line: str) -> "Child":
        pid, started, stop_signal = line.split()
        return cls(int(pid), float(started), int(stop_signal))

    def __str__(self) -> str:
        return f"{self.pid} {self.started!r} {self.stop_signal}"


class Guard:
    """The supervisor's end of the pipe."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._children: list[Child] = []
        self._start()

    def watch(self, child: Child) -> None:
        """End this child if the supervisor is killed."""
        self._children = [c for c in self._children if sessions.is_alive(c.pid, c.started)]
        self._children.append(child)
        self._tell(child)

    def tend(self) -> None:
        """Restart the guard if it was killed."""
        if self._popen.poll() is not None:
            self._close()
            self._start()
            for child in self._children:
                self._tell(child)

    def dismiss(self) -> None:
        """Close the pipe, and wait until no process is left."""
        self._close()
        self._popen.wait()

    def _start(self) -> None:
        self._popen = subprocess.Popen(
            (*environment.PYTHON, "-m", "tracker.supervisor.guard"),
            env=environment.without_secrets(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
        )

    def _tell(self, child: Child) -> None:
        try:
            assert self._popen.stdin
            self._popen.stdin.write(f"{child}\n".encode())
            self._popen.stdin.flush()
        except BrokenPipeError:  # `tend` tells the next guard
            pass

    def _close(self) -> None:
        try:
            assert self._popen.stdin
            self._popen.stdin.close()
        except BrokenPipeError:
            pass


def end(children: Iterable[Child], *, grace: float = GRACE) -> None:
    """Wait for the children and all their descendants, and kill what has not ended in time."""
    children = list(children)
    if sys.platform != "linux":
        _ask(children)
    found: dict[int, psutil.Process] = {}
    deadline = time.monotonic() + grace
    while True:
        for child in children:
            found |= {p.pid: p for p in sessions.members(child.pid, child.started)}
        if not (left := [process for process in found.values() if sessions.alive(process)]):
            return
        if time.monotonic() > deadline:
            sessions.kill(left)
        time.sleep(STEP)


def _ask(children: Iterable[Child]) -> None:
    for child in children:
        if sessions.is_alive(child.pid, child.started):
            os.kill(child.pid, child.stop_signal)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end([Child.parse(line) for line in sys.stdin])


if __name__ == "__main__":
    main()
