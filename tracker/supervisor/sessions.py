"""The processes that descend from a child, found without trusting a pid that may be reused."""

import os
from collections.abc import Iterable

import psutil


def members(pid: int, started: float) -> list[psutil.Process]:
    """The living processes of the session that `pid` began at `started`, and their descendants.

    A pid is not given to a new process while a session is named by it, so a session is ours
    unless its leader is a younger process.
    """
    if _reused(pid, started):
        return []
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == pid and alive(process):
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return list(found.values())


def is_alive(pid: int, started: float) -> bool:
    """Whether the process `pid` that began at `started` still runs."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and alive(process)
    except psutil.AccessDenied:  # another user's, and there
        return True
    except psutil.Error:
        return False


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL; psutil refuses when the pid has come to belong to another process."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue


def _reused(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) >= 1.0
    except psutil.NoSuchProcess:
        return False
