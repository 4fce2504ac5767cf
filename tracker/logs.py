"""How long-running processes log: one event per line on stdout, without values of variables."""

import sys

import structlog

from tracker.listening import overhear


def configure() -> None:
    """Call once, at an entry point. Tracebacks are plain: locals may hold passwords.

    What an event says about a run is also told to whoever listens to that run.
    """
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
        ],
        # The stream itself, so that an event is not heard again as a print of the analysis.
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )
