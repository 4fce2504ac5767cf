"""Keeps what code of others prints out of what a command prints, whichever way it prints."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TextIO

_LOCK = Lock()
_users = 0
_used = False
_before: tuple[TextIO, TextIO, int | None] | None = None  # stdout, what stood in for it, its file


@contextmanager
def aside() -> Iterator[None]:
    """Inside the block standard output leads to standard error, for C code and children too."""
    global _users
    with _LOCK:
        _users += 1
        if _users == 1:
            _lead_away()
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                _lead_back()


def end() -> None:
    """What code of others prints from now on, at the end of the process, is not printed there."""
    if not _used:
        return
    with _LOCK, suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stdout = sys.stderr
        os.dup2(2, 1)


def _lead_away() -> None:
    global _before, _used
    _used = True
    _flush(sys.stdout)
    kept = None
    with suppress(OSError):  # a closed stream takes nothing anyway
        kept = os.dup(1)
        os.dup2(2, 1)
    _before = sys.stdout, sys.stderr, kept
    sys.stdout = sys.stderr


def _lead_back() -> None:
    global _before
    assert _before is not None
    stdout, stand_in, kept = _before
    _flush(sys.stdout)
    if sys.stdout is stand_in:
        sys.stdout = stdout
    if kept is not None:
        os.dup2(kept, 1)
        os.close(kept)
    _before = None


def _flush(stream: TextIO) -> None:
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()
