"""Processes for crashes, forked from one that is warm: each costs milliseconds, not seconds."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import psutil

from tracker.run_logs import logs

from . import stories, survivors
from .stories import Act, Place

AT_ONCE = 2
PATIENCE = 180.0  # seconds in which a process comes to its end

# Whoever starts a process also asks how all others are, and two who ask at once get a wrong answer.
_ONE = threading.Lock()
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.warm"])


def ends(acts: Sequence[Act], place: Place) -> list[int | None]:
    """Play each act in a process of its own; how they ended: minus the signal that killed one.

    None stands for one that did not end by itself.
    """
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
    process = _begun(_FORKS.Process(target=_help, args=(place,), name="third"))
    yield
    assert _joined(process) == 0


def _help(place: Place) -> None:
    logs.configure()
    with stories.registered():
        survivors.go_on(place.bench("third"))


def _started(act: Act, place: Place) -> BaseProcess:
    return _begun(_FORKS.Process(target=act.play, args=(place,), name=act.writer))


def _begun(process: BaseProcess) -> BaseProcess:
    with _ONE:
        process.start()
    return process


def _joined(process: BaseProcess) -> int | None:
    ended = wait([process.sentinel], PATIENCE)
    with _ONE:
        if not ended:
            process.kill()
        return process.exitcode if ended else None


def _stops(process: BaseProcess) -> bool:
    deadline = time.monotonic() + PATIENCE
    with suppress(psutil.NoSuchProcess):
        while time.monotonic() < deadline and not wait([process.sentinel], 0.02):
            if psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
                return True
    return False


def _thawed(process: BaseProcess) -> int | None:
    if process.pid is not None and not wait([process.sentinel], 0):
        os.kill(process.pid, signal.SIGCONT)
    return _joined(process)
