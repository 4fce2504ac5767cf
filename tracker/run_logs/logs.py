"""How long-running processes log: one event per line on stdout, without values of variables."""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from analyses.shown import plain
from tracker.run_logs import log_records
from tracker.run_logs.current_run import overhear
from tracker.secrets.urls import without_credentials


def configure() -> None:
    """Call once, at an entry point. Tracebacks are plain: locals may hold passwords.

    What an event says about a run is also told to whoever listens to that run. Libraries that log
    show no password that this process was told.
    """
    log_records.without_secrets()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _values_without_credentials,
            overhear,
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event"], drop_missing=True
            ),
            _without_credentials,
        ],
        # The stream itself, so that an event is not heard again as a print of the analysis.
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )


def _without_credentials(_logger: object, _method: str, rendered: Any) -> str:
    return plain(without_credentials(rendered))


def _values_without_credentials(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Before they are quoted, which would hide where a secret ends."""
    return {name: _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value
