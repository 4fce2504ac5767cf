"""A line of a run's log."""

from enum import StrEnum
from typing import NamedTuple


class LogLevel(StrEnum):
    """How severe a line of a run's log is, or the stream that it was printed to."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    STDOUT = "stdout"
    STDERR = "stderr"


class SaidLine(NamedTuple):
    """A line that was logged or printed while a part was worked on."""

    at: float  # monotonic seconds of the worker
    level: LogLevel
    line: str
