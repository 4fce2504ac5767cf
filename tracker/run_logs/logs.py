"""Logging of long-running processes: one event per line on stdout, redacted."""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from analyses.shown import plain
from tracker.run_logs import log_records
from tracker.run_logs.current_run import overhear
from tracker.secrets.urls import without_credentials


def configure() -> None:
    """Call once, at an entry point. Tracebacks omit locals, which may contain passwords.

    Events about a run also go to the listener of that run. Records of libraries are redacted.
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
        # The original stream, so that an event is not captured again as a print of the analysis.
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )


def _without_credentials(_logger: object, _method: str, rendered: Any) -> str:
    return plain(without_credentials(rendered))


def _values_without_credentials(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact before quoting, which would hide where a secret ends."""
    return {name: _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value
