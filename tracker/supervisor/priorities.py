"""Readers of the embedded Postgres run at the lowest priority and with limited memory.

Every session starts with a reader's memory limit; it is lifted for sessions of our own roles.
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
    """Sets the priority of the sessions (child processes) of one server; Linux only."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def tend(self, server: int, *, owner: Owner | None = None) -> None:
        """Lower the priority of every reader's session, and lift the limit of ours."""
        if sys.platform != "linux":
            return
        living = _children(server)
        for pid in living - self._seen:
            title = _title(pid)
            if " [local] " not in title:  # a server process, or not logged in yet
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
    """The process title of a session: user, database, client address, activity."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _change(change: Callable[[], None], owner: Owner | None) -> bool:
    """Whether nothing is left to do for the session.

    Root in a container may lack rights over other users' processes that those users have.
    """
    try:
        change()
    except BlockingIOError:  # the kernel allows one change per 0.1 s: done at the next check
        return False
    except PermissionError:
        if owner is not None:
            _change_as(owner, change)
    except OSError:  # it has exited
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
    # Where the kernel schedules by process session (autogroup), each Postgres session is a group.
    if (group := Path(f"/proc/{pid}/autogroup")).exists():
        group.write_text(str(LAST))


def _free(pid: int) -> None:
    """Tensors and dumps need more memory than a reader has."""
    most = resource.prlimit(pid, resource.RLIMIT_AS)[1]
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
