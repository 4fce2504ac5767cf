"""The descendants of a child process, robust against reused pids."""

import os
from collections.abc import Iterable

import psutil


def members(pid: int, started: float) -> list[psutil.Process]:
    """The running processes of the session that `pid` started at `started`, and their descendants.

    The kernel does not reuse a pid while a session has it as its id, so a session is ours unless
    its leader is a younger process.
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
    """Whether the process `pid` that started at `started` is still running."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and alive(process)
    except psutil.AccessDenied:  # it exists, but is another user's
        return True
    except psutil.Error:
        return False


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL; psutil refuses if the pid has been reused."""
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
