"""A line of a run's log."""

from enum import StrEnum
from typing import NamedTuple


class LogLevel(StrEnum):
    """The level of a log line, or the stream to which it was printed."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    STDOUT = "stdout"
    STDERR = "stderr"


class SaidLine(NamedTuple):
    """A line that was logged or printed during the work on a part."""

    at: float  # seconds on the worker's monotonic clock
    level: LogLevel
    line: str
