"""Readers of the embedded Postgres get what workers leave of the processors, and little memory.

Every session begins with the little memory that a reader has; those of ours get all there is.
"""

import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tracker.domain import Role
from tracker.supervisor.process import Owner, as_user
from tracker.supervisor.provision import OWNER

LAST = 19  # as low as `nice` goes
_OURS = ("postgres", OWNER, Role.WORKER, "mlflow")


class Priorities:
    """Of the sessions of one server, which are its children; on Linux."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def tend(self, server: int, *, owner: Owner | None = None) -> None:
        """Put every reader's session last, and free ours; quick where no session is new."""
        if sys.platform != "linux":
            return
        living = _children(server)
        for pid in living - self._seen:
            title = _title(pid)
            if " [local] " not in title:  # of the server itself, or not logged in yet
                continue
            ours = title.startswith(tuple(f"postgres: {login} " for login in _OURS))
            if _change(partial(_free if ours else _put_last, pid), owner):
                self._seen.add(pid)
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


def _change(change: Callable[[], None], owner: Owner | None) -> bool:
    """Whether nothing is left to do for that session.

    Root of a container may lack a right over others' processes that they have themselves.
    """
    try:
        change()
    except BlockingIOError:  # a user may change one group in a tenth of a second: at the next look
        return False
    except PermissionError:
        if owner is not None:
            _change_as(owner, change)
    except OSError:  # it has ended
        pass
    return True


def _change_as(owner: Owner, change: Callable[[], None]) -> None:
    with suppress(OSError, subprocess.SubprocessError), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in `process.spawn`
        subprocess.run(
            ("/bin/sh", "-c", ":"),
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=change,
            **as_user(owner),
        )


def _put_last(pid: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, LAST)
    # Where the kernel groups processes by their sessions, each session of Postgres is a group.
    if (group := Path(f"/proc/{pid}/autogroup")).exists():
        group.write_text(str(LAST))


def _free(pid: int) -> None:
    """A part's tensors and a dump take more memory than a reader has."""
    most = resource.prlimit(pid, resource.RLIMIT_AS)[1]
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
