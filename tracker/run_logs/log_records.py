"""Redacts secrets from `logging` records and uncaught exceptions."""

import logging
import sys
import threading
from traceback import format_exception
from types import TracebackType
from typing import Any

from analyses.shown import plain
from tracker.secrets.urls import without_credentials


def without_secrets() -> None:
    """From now on, redact secrets from all records, whatever the handler, and from tracebacks.

    Call once, at an entry point.
    """
    logging.setLogRecordFactory(_Record)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _in_thread


class _Record(logging.LogRecord):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.stack_info:
            self.stack_info = _clean(self.stack_info)
        if self.exc_info and self.exc_info[0]:
            # Formatters use this text if it is set.
            self.exc_text = _clean(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:
        return _clean(super().getMessage())


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(_clean("".join(format_exception(kind, error, trace))))


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        _uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _clean(text: str) -> str:
    return plain(without_credentials(text))
