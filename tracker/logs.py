"""How long-running processes log: one event per line on stdout, without values of variables."""

import structlog


def configure() -> None:
    """Call once, at an entry point. Tracebacks are plain: locals may hold passwords."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event"], drop_missing=True
            ),
        ],
        cache_logger_on_first_use=True,
    )
