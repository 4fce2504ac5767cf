"""How long-running processes log: one event per line on stdout, without values of variables."""

import logging
import sys
from typing import Any

import structlog

from analyses.shown import plain
from tracker.listening import overhear
from tracker.urls import without_credentials


def configure() -> None:
    """Call once, at an entry point. Tracebacks are plain: locals may hold passwords.

    What an event says about a run is also told to whoever listens to that run. Libraries that log
    show no password that this process was told.
    """
    without_credentials_in_records()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            overhear,
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event"], drop_missing=True
            ),
            _without_credentials,
        ],
        # The stream itself, so that an event is not heard again as a print of the analysis.
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )


def without_credentials_in_records() -> None:
    """From now on records of `logging` hold no password, whatever handler writes them."""
    logging.setLogRecordFactory(_Record)


class _Record(logging.LogRecord):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.exc_info and self.exc_info[0]:
            # A formatter takes this text in place of one that it would make.
            raised = logging.Formatter().formatException(self.exc_info)
            self.exc_text = plain(without_credentials(raised))

    def getMessage(self) -> str:
        return plain(without_credentials(super().getMessage()))


def _without_credentials(_logger: object, _method: str, rendered: Any) -> str:
    return plain(without_credentials(rendered))
