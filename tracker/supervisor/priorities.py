"""Readers of the embedded Postgres compute with what workers leave of the processors."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from tracker.domain import Role
from tracker.supervisor.provision import OWNER

LAST = 19  # as low as `nice` goes
_OURS = ("postgres", OWNER, Role.WORKER, "mlflow")


class Priorities:
    """Of the sessions of one server, which are its children; on Linux."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def tend(self, server: int) -> None:
        """Put every reader's session last; quick where no session is new."""
        if sys.platform != "linux":
            return
        living = _children(server)
        for pid in living - self._seen:
            title = _title(pid)
            if " [local] " not in title:  # of the server itself, or not logged in yet
                continue
            self._seen.add(pid)
            if not title.startswith(tuple(f"postgres: {login} " for login in _OURS)):
                _put_last(pid)
        self._seen &= living


def _children(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()


def _title(pid: int) -> str:
    """What a session says of itself: user, database, where it comes from, what it does."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _put_last(pid: int) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, LAST)
        # Where the kernel groups processes by their sessions, each session of Postgres is a group.
        Path(f"/proc/{pid}/autogroup").write_text(str(LAST))
