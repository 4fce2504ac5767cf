"""Processes for crashes, forked from one that is warm: each costs milliseconds, not seconds."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import psutil

from tracker import logs

from . import stories, survivors
from .stories import Act, Place

AT_ONCE = 2
PATIENCE = 180.0  # seconds in which a process comes to its end

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.warm"])


def ends(acts: Sequence[Act], place: Place) -> list[int | None]:
    """Play each act in a process of its own; how they ended: minus the signal that killed one."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda act: _joined(_started(act, place)), acts))


@contextmanager
def frozen(acts: Sequence[Act], place: Place) -> Iterator[list[bool]]:
    """Play each act until it stops; whether they did. Behind the block they go on, and end."""
    processes: list[BaseProcess] = []

    def freeze(act: Act) -> bool:
        process = _started(act, place)
        processes.append(process)
        return _stops(process)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        stopped = list(pool.map(freeze, acts))
        try:
            yield stopped
        finally:
            list(pool.map(_thawed, processes))


@contextmanager
def helped(place: Place) -> Iterator[None]:
    """Inside the block a second process does what `survivors` do; it ends by itself."""
    process = _FORKS.Process(target=_help, args=(place,), name="third")
    process.start()
    yield
    assert _joined(process) == 0


def _help(place: Place) -> None:
    logs.configure()
    with stories.registered():
        survivors.go_on(place.bench("third"))


def _started(act: Act, place: Place) -> BaseProcess:
    process = _FORKS.Process(target=act.play, args=(place,), name=act.writer)
    process.start()
    return process


def _joined(process: BaseProcess) -> int | None:
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode


def _stops(process: BaseProcess) -> bool:
    deadline = time.monotonic() + PATIENCE
    while process.is_alive() and time.monotonic() < deadline:
        try:
            if psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
                return True
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.02)
    return False


def _thawed(process: BaseProcess) -> int | None:
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGCONT)
    return _joined(process)
