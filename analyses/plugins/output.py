"""Keeps what plugin code prints out of a command's standard output, however it prints."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TextIO

_LOCK = Lock()
_users = 0
_used = False
_before: tuple[TextIO, TextIO, int | None] | None = None  # stdout, replacement, copy of fd


@contextmanager
def aside() -> Iterator[None]:
    """Redirect standard output to standard error, for C code and child processes too."""
    global _users
    with _LOCK:
        _users += 1
        if _users == 1:
            _redirect()
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                _restore()


def end() -> None:
    """Redirect standard output for good: plugin code may still print while the process exits."""
    if not _used:
        return
    with _LOCK, suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stdout = sys.stderr
        os.dup2(2, 1)


def _redirect() -> None:
    global _before, _used
    _used = True
    _flush(sys.stdout)
    copy = None
    with suppress(OSError):  # standard output is closed
        copy = os.dup(1)
        os.dup2(2, 1)
    _before = sys.stdout, sys.stderr, copy
    sys.stdout = sys.stderr


def _restore() -> None:
    global _before
    assert _before is not None
    stdout, replacement, copy = _before
    _flush(sys.stdout)
    if sys.stdout is replacement:
        sys.stdout = stdout
    if copy is not None:
        os.dup2(copy, 1)
        os.close(copy)
    _before = None


def _flush(stream: TextIO) -> None:
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()
