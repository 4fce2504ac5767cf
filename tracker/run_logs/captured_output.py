"""Taps on what is said in this process: prints, warnings, records of `logging`.

Nothing is held back: it is still said where it was said before. What C code or another process
writes is not heard.
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
    """What is told of all that is said."""

    def printed(self, stream: LogLevel, text: str) -> None: ...
    def recorded(self, record: logging.LogRecord) -> None: ...
    def warned(self, text: str) -> None: ...


WhoHears = Callable[[], Ear | None]  # asked by the thread that says something

_TOLD: ContextVar[bool] = ContextVar("told", default=False)


@contextmanager
def tapped(who: WhoHears) -> Iterator[None]:
    """Inside the block everything that is said is told, once, to whoever hears it then."""

    def hears() -> Ear | None:
        return None if _TOLD.get() else who()

    with (
        _instead(sys, "stdout", _Stream(sys.stdout, LogLevel.STDOUT, hears)),
        _instead(sys, "stderr", _Stream(sys.stderr, LogLevel.STDERR, hears)),
        _instead(warnings, "showwarning", _warnings(warnings.showwarning, hears)),
        # Not a handler: libraries keep their records from the root logger.
        _instead(logging.Logger, "callHandlers", _records(logging.Logger.callHandlers, hears)),
    ):
        yield


@contextmanager
def _instead(owner: object, name: str, new: Any) -> Iterator[None]:
    """Inside the block the attribute is another, unless somebody else replaces it in turn."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        if getattr(owner, name) is new:
            setattr(owner, name, old)


class _Stream:
    """A stream that goes where it went before. A library's handler may keep it for ever."""

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
    """Say what was told, so that what it becomes, a record or a print, is not told again."""
    before = _TOLD.set(True)
    try:
        original(*arguments, **named)
    finally:
        _TOLD.reset(before)
