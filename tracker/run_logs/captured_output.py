"""Captures this process's output: prints, warnings, `logging` records.

It is copied, not redirected: everything still goes where it went before. Output of C code and of
other processes is not captured.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TextIO

from tracker.domain import LogLevel


class Ear(Protocol):
    """Receives all captured output."""

    def printed(self, stream: LogLevel, text: str) -> None: ...
    def recorded(self, record: logging.LogRecord) -> None: ...
    def warned(self, text: str) -> None: ...


WhoHears = Callable[[], Ear | None]  # called by the thread that writes

_TOLD: ContextVar[bool] = ContextVar("told", default=False)


@contextmanager
def tapped(who: WhoHears) -> Iterator[None]:
    """Inside the block, all output is passed to the current listener, once."""

    def hears() -> Ear | None:
        return None if _TOLD.get() else who()

    with (
        _instead(sys, "stdout", _Stream(sys.stdout, LogLevel.STDOUT, hears)),
        _instead(sys, "stderr", _Stream(sys.stderr, LogLevel.STDERR, hears)),
        _instead(warnings, "showwarning", _warnings(warnings.showwarning, hears)),
        # Not a handler: some libraries do not propagate to the root logger.
        _instead(logging.Logger, "callHandlers", _records(logging.Logger.callHandlers, hears)),
    ):
        yield


@contextmanager
def _instead(owner: object, name: str, new: Any) -> Iterator[None]:
    """Inside the block the attribute is replaced; restored unless someone else has replaced it."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        if getattr(owner, name) is new:
            setattr(owner, name, old)


class _Stream:
    """A stream that also writes to the original one. A library's handler may keep it forever."""

    def __init__(self, stream: TextIO, name: LogLevel, who: WhoHears) -> None:
        self._stream, self._name, self._who = stream, name, who

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        ear = self._who()
        if ear is not None:
            ear.printed(self._name, text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _records(original: Any, who: WhoHears) -> Any:
    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        ear = who()
        if ear is not None:
            ear.recorded(record)
        _say(original, logger, record)

    return call_handlers


def _warnings(original: Any, who: WhoHears) -> Any:
    def show(
        message: Any, category: Any, filename: str, line: int, *more: Any, **rest: Any
    ) -> None:
        ear = who()
        if ear is not None:
            ear.warned(f"{filename}:{line}: {category.__name__}: {message}")
        _say(original, message, category, filename, line, *more, **rest)

    return show


def _say(original: Any, *arguments: Any, **named: Any) -> None:
    """Inside the block, output that results from captured output is not captured again."""
    before = _TOLD.set(True)
    try:
        original(*arguments, **named)
    finally:
        _TOLD.reset(before)
