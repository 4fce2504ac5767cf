"""Attributes output of this process to the run that is being worked on."""

import logging
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from tracker.domain import LogLevel
from tracker.run_logs.captured_output import tapped

_LONGEST_PRINT = 16_000  # characters of an unfinished line
_FORMAT = logging.Formatter("%(name)s: %(message)s")
_SHOWN_APART = {"timestamp", "level", "event", "run_id", "part", "exception"}


class Listener(Protocol):
    """Receives the lines about a run; `own` marks the tracker's own events."""

    @property
    def run_id(self) -> str: ...
    def hear(self, level: LogLevel, text: str, *, own: bool = False) -> None: ...


@contextmanager
def heard_by(listener: Listener, *, packages: Collection[str] = ()) -> Iterator[None]:
    """Inside the block, the listener gets the output of this thread and of threads it starts.

    It gets our own events that carry its run from any thread. `logging` records are included from
    INFO for `packages` and the tracker, from WARNING for others.
    """
    ear = _Ear(listener, packages)
    with _LOCK:
        if not _EARS:
            with warnings.catch_warnings():
                pass  # resets which warnings were shown: an earlier run may have had the same
            _TAPS.enter_context(tapped(_ear))
        _EARS.append(ear)
    before = _HERE.set(ear)
    try:
        yield
    finally:
        _HERE.reset(before)
        with _LOCK:
            _EARS.remove(ear)
            if not _EARS:
                _TAPS.close()
        ear.end()


def overhear(_logger: object, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor that passes an event to the listener of its run."""
    ear = _ear_of(event)
    if ear is not None:
        more = [f"{key}={value!r}" for key, value in event.items() if key not in _SHOWN_APART]
        lines = [" ".join([str(event.get("event")), *more]), event.get("exception")]
        text = "\n".join(line for line in lines if line)
        level = logging.getLevelNamesMapping().get(str(event.get("level")).upper(), logging.INFO)
        ear.listener.hear(_level(level), text, own=True)
    return event


class _Ear:
    """A listener, and the threads it ignores: those that were running before it."""

    def __init__(self, listener: Listener, packages: Collection[str]) -> None:
        self.listener, self.packages = listener, frozenset({"tracker", *packages})
        self.others = frozenset(threading.enumerate())
        self._begun: dict[tuple[LogLevel, int], str] = {}  # lines by stream and thread

    def printed(self, stream: LogLevel, text: str) -> None:
        key = stream, threading.get_ident()
        *lines, rest = (self._begun.pop(key, "") + text).split("\n")
        for line in lines:
            self.listener.hear(stream, _as_drawn(line))
        if len(rest) > _LONGEST_PRINT:
            rest = _as_drawn(rest)[:_LONGEST_PRINT]
        if rest:
            self._begun[key] = rest

    def recorded(self, record: logging.LogRecord) -> None:
        own = record.name.partition(".")[0] in self.packages
        if record.levelno >= (logging.INFO if own else logging.WARNING):
            self.listener.hear(_level(record.levelno), _text(record))

    def warned(self, text: str) -> None:
        self.listener.hear(LogLevel.WARNING, text)

    def end(self) -> None:
        for (stream, _), line in list(self._begun.items()):
            self.listener.hear(stream, _as_drawn(line))


_HERE: ContextVar[_Ear | None] = ContextVar("ear", default=None)
_EARS: list[_Ear] = []
_TAPS = ExitStack()
_LOCK = threading.Lock()


def _ear() -> _Ear | None:
    """The listener of this thread, which may have been started inside a block."""
    here = _HERE.get()
    if here is not None:
        return here
    ears = list(_EARS)
    started_in_it = len(ears) == 1 and threading.current_thread() not in ears[0].others
    return ears[0] if started_in_it else None


def _ear_of(event: Mapping[str, Any]) -> _Ear | None:
    here, run_id = _ear(), event.get("run_id")
    if run_id is None or (here is not None and here.listener.run_id == run_id):
        return here
    return next((ear for ear in list(_EARS) if ear.listener.run_id == run_id), None)


def _as_drawn(line: str) -> str:
    """What a terminal finally shows of a line that is redrawn, as progress bars are."""
    return line.rstrip("\r").rpartition("\r")[2]


def _text(record: logging.LogRecord) -> str:
    try:
        return _FORMAT.format(record)
    except Exception:  # arguments that do not fit the format: the handlers report that
        return f"{record.name}: {record.msg}"


def _level(number: int) -> LogLevel:
    loud = (LogLevel.CRITICAL, LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO)
    known = logging.getLevelNamesMapping()
    return next((each for each in loud if number >= known[each.name]), LogLevel.DEBUG)
