"""Process-wide state, restored after plugin code has changed it."""

import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

_SIGNALS = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
)


class Part(NamedTuple):
    """One part of the state: how to read it and how to restore it."""

    read: Callable[[], Any]
    restore: Callable[[Any], object]


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _restore_path(before: list[str]) -> None:
    """Entries that were added stay, at the end, where they shadow nothing."""
    sys.path[:] = [*before, *(entry for entry in sys.path if entry not in before)]


def _folder() -> str | None:
    with suppress(OSError):  # it was removed
        return os.getcwd()
    return None


def _mask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _loggers() -> tuple[int, list[logging.Handler], int]:
    root = logging.getLogger()
    return root.level, list(root.handlers), root.manager.disable


def _restore_loggers(before: tuple[int, list[logging.Handler], int]) -> None:
    root = logging.getLogger()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.disable(before[2])


def _attribute(owner: Any, name: str) -> Part:
    return Part(lambda: getattr(owner, name), lambda before: setattr(owner, name, before))


def _restore_locale(before: str) -> None:
    if locale.setlocale(locale.LC_ALL) != before:
        locale.setlocale(locale.LC_ALL, before)


def _restore_filters(before: list[Any]) -> None:
    if list(warnings.filters) != before:
        warnings.filters[:] = before  # type: ignore[index]  # it is a list


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _restore_handlers(before: dict[int, Any]) -> None:
    """Only the main thread may set handlers, so only it can have changed them."""
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _start_method() -> str | None:
    processes = sys.modules.get("multiprocessing")
    return processes.get_start_method(allow_none=True) if processes else None


def _restore_start_method(before: str | None) -> None:
    if _start_method() != before:
        sys.modules["multiprocessing"].set_start_method(before, force=True)


def _torch() -> tuple[Any, ...] | None:
    """torch's settings; None if it is not imported, when the defaults are restored instead."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return None
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state(),
    )


def _restore_torch(before: tuple[Any, ...] | None) -> None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return
    if before is None:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
        return
    dtype, device, threads, grad, deterministic, random_state = before
    torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        torch.set_default_device(device)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    torch.set_grad_enabled(grad)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_rng_state(random_state)


_PARTS = (
    Part(_folder, lambda before: os.chdir(before or ".")),
    Part(lambda: dict(os.environ), _restore_environment),
    Part(lambda: list(sys.path), _restore_path),
    Part(_mask, os.umask),
    Part(lambda: locale.setlocale(locale.LC_ALL), _restore_locale),
    Part(_loggers, _restore_loggers),
    Part(lambda: list(warnings.filters), _restore_filters),
    Part(random.getstate, random.setstate),
    Part(np.random.get_state, np.random.set_state),
    Part(np.geterr, lambda before: np.seterr(**before)),
    Part(gc.isenabled, lambda before: gc.enable() if before else gc.disable()),
    Part(sys.getrecursionlimit, sys.setrecursionlimit),
    Part(sys.getswitchinterval, sys.setswitchinterval),
    Part(socket.getdefaulttimeout, socket.setdefaulttimeout),
    Part(_start_method, _restore_start_method),
    Part(lambda: signal.getitimer(signal.ITIMER_REAL), lambda old: _restore_timer(old)),
    Part(_handlers, _restore_handlers),
    Part(_torch, _restore_torch),
    *(_attribute(sys, name) for name in ("stdin", "stdout", "stderr")),
    *(_attribute(sys, name) for name in ("excepthook", "unraisablehook", "displayhook")),
    _attribute(threading, "excepthook"),
    _attribute(warnings, "showwarning"),
)


def _restore_timer(before: tuple[float, float]) -> None:
    if signal.getitimer(signal.ITIMER_REAL) != before:
        signal.setitimer(signal.ITIMER_REAL, *before)


@contextmanager
def kept() -> Iterator[None]:
    """Restore the process's state after the block; a child that the block forked exits."""
    process = os.getpid()
    before = [(part, part.read()) for part in _PARTS]
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        for part, value in before:
            with suppress(Exception):
                part.restore(value)
