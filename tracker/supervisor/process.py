"""A child process with its own session and log, which never outlives its parent."""

import ctypes
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from tracker.home import own_files
from tracker.home.ownership import NotOurs
from tracker.supervisor import sessions

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
STEP = 0.02  # seconds
LOG_BYTES = 20_000_000  # a longer log is rotated to `.log.1` when its process starts


@dataclass(frozen=True)
class Owner:
    """The ordinary user that a child runs as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. Passwords go into `env` or files, never into `argv`."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(repr=False)
    cwd: Path | None = None
    owner: Owner | None = None
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)  # the gentlest first
    grace: float = 10.0  # seconds, for all of them together
    address_space: int | None = None  # soft RLIMIT_AS in bytes; Linux


class Process:
    """A started command."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._popen = spawn(command)
        self.pid = self._popen.pid
        self._asked = 0.0
        try:
            self.started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            self.started = time.time()

    @property
    def exit_code(self) -> int | None:
        """None while it is running."""
        return self._popen.poll()

    def ask_to_stop(self, step: int = 0) -> None:
        self._asked = self._asked or time.monotonic()
        if self.exit_code is None:
            self._popen.send_signal(self.command.stop_signals[step])

    def finish(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Wait for a process that was asked to stop, sending harsher signals as time passes."""
        share = self.command.grace / len(self.command.stop_signals)
        for step in range(len(self.command.stop_signals)):
            if step and not hurry():
                self.ask_to_stop(step)
            while self.exit_code is None and time.monotonic() < self._asked + share * (step + 1):
                if hurry():
                    break
                time.sleep(STEP)
        self.kill()

    def kill(self) -> None:
        """Kill it and its remaining children at once."""
        left = sessions.members(self.pid, self.started)
        if self.exit_code is None:
            self._popen.kill()
        sessions.kill(left)
        self._popen.wait()

    def stop(self) -> None:
        self.ask_to_stop()
        self.finish()


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start a command in its own session, to be signalled when this process dies.

    PR_SET_PDEATHSIG follows the thread that forked, so only the main thread may spawn. It is set
    in the child after the change of user, which would clear it.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children must be started by the main thread")
    with log_file(command.log) as log, warnings.catch_warnings():
        # Python 3.12 warns about preexec_fn with threads; ours only makes system calls.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
            umask=0o077,  # not the shell's: a home's files are private
            preexec_fn=_at_birth(command.stop_signals[0], command.address_space),
            **as_user(command.owner),
        )


def as_user(owner: Owner | None) -> dict[str, Any]:
    """The arguments of `subprocess` that drop root for `owner`, groups included."""
    if owner is None:
        return {}
    return {"user": owner.uid, "group": owner.gid, "extra_groups": []}


def can_run(argv: tuple[str, ...], owner: Owner) -> bool:
    """Whether the command succeeds as that user, with an empty environment."""
    try:
        result = subprocess.run(
            argv, cwd="/", env={}, stdin=subprocess.DEVNULL, capture_output=True, **as_user(owner)
        )
    except OSError:
        return False
    return result.returncode == 0


def log_file(path: Path) -> BinaryIO:
    """The log, opened for appending, readable by its owner only.

    A file that cannot be written is replaced; failing that, the log is discarded, as logging
    must not stop a process from starting.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if own_files.exists(path) and path.lstat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return _appended(path)
    except (OSError, NotOurs) as error:
        logger.warning("%s is not writable (%s)", path, error)
    try:
        path.replace(path.with_suffix(".log.unwritable"))
        return _appended(path)
    except (OSError, NotOurs):
        return open(os.devnull, "ab")


def _appended(path: Path) -> BinaryIO:
    return os.fdopen(own_files.opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")


def _at_birth(number: signal.Signals, address_space: int | None) -> Callable[[], None] | None:
    """Run in the child before exec: die with the parent, and limit memory."""
    if sys.platform != "linux":  # there the guard does it, a little later
        return None
    libc, parent = _libc(), os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl
            os._exit(1)
        if address_space:
            most = resource.getrlimit(resource.RLIMIT_AS)[1]
            least = address_space if most == resource.RLIM_INFINITY else min(address_space, most)
            resource.setrlimit(resource.RLIMIT_AS, (least, most))

    return in_child


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
