"""The lock of a home: at most one supervisor, and which process it is.

The guard holds the same lock until the supervisor's last child has exited, so a killed stack and
its successor never overlap.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import psutil
from pydantic import TypeAdapter

from tracker.home import own_files
from tracker.home.home import Home, Pid
from tracker.home.ownership import NotReadable
from tracker.secrets.urls import for_people
from tracker.supervisor import sessions
from tracker.supervisor.errors import AlreadyRunning, HomeNotWritable, StillStopping

CLEANUP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds the lock."""

    pid: Pid
    started: float

    @property
    def alive(self) -> bool:
        return sessions.is_alive(self.pid, self.started)

    def holds(self, lock: Path) -> bool:
        """Whether it is this user's and has the lock file open: a pid may be stale or forged."""
        try:
            process = psutil.Process(self.pid)
            if process.uids().effective != os.geteuid():
                return False
            return any(_same(Path(file.path), lock) for file in process.open_files())
        except psutil.Error:
            return False


@contextmanager
def held(home: Home) -> Iterator[int]:
    """Lock the home; yields the file descriptor. Refused while another supervisor is alive.

    Raises `NotOurs`, `HomeNotWritable`, `AlreadyRunning`, `StillStopping`.
    """
    try:
        home.make()
        file = own_files.opened(home.lock_file, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise HomeNotWritable(home.root, error) from None
    try:
        _take(home, file)
        _write(file, json.dumps(asdict(_this_process())))
        yield file
        _write(file, "")
    finally:
        os.close(file)


def holder(home: Home) -> Holder | None:
    """The running supervisor of this home, ready or not; raises `NotReadable`."""
    try:
        found = _holders().validate_json(own_files.read_text(home.lock_file) or "{}", strict=True)
    except ValueError:  # empty, or just being written
        return None
    return found if found.alive and found.holds(home.lock_file) else None


def is_free(home: Home) -> bool:
    """Whether neither a supervisor nor a guard holds the lock; raises `NotReadable`."""
    try:
        file = own_files.opened(home.lock_file, os.O_RDWR)
    except FileNotFoundError:
        return True
    except PermissionError:
        raise NotReadable(home.lock_file) from None
    try:
        return _try(file)
    finally:
        os.close(file)


def _take(home: Home, file: int) -> None:
    deadline = time.monotonic() + CLEANUP_SECONDS
    while not _try(file):
        if other := holder(home):
            raise AlreadyRunning(home.root, other.pid, addresses(home))
        if time.monotonic() > deadline:
            raise StillStopping(home.root)
        time.sleep(0.1)


def _try(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


@cache
def _holders() -> TypeAdapter[Holder]:
    return TypeAdapter(Holder)


def _this_process() -> Holder:
    return Holder(pid=os.getpid(), started=psutil.Process().create_time())


def addresses(home: Home) -> dict[str, str]:
    """The addresses of this home's stack; empty until it is ready."""
    state = home.running()
    if state is None:
        return {}
    return {"app": state.app_url, "MLflow": for_people(state.mlflow_tracking_uri)}
