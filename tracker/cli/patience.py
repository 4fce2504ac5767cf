"""Retries while the database is briefly unavailable, with one notice per outage."""

from collections.abc import Callable
from typing import TypeVar

import typer

from analyses.shown import in_lines
from tracker.database.db import BusyDatabase, passes, repeated
from tracker.errors import TrackerError

T = TypeVar("T")

_OUTAGE = 300.0  # seconds for which reads of a run in progress are retried
_BUSY = 30.0  # seconds for which a change is retried while the database is busy


def through_outages(read: Callable[[], T]) -> T:
    """The result of `read`, retried while the database is unavailable; one notice per outage."""
    return repeated(read, seconds=_OUTAGE, again=passes, notice=_notice_once())


def while_busy(change: Callable[[], T]) -> T:
    """The result of `change`, retried while the database is busy, as during a failover.

    A failed try leaves nothing behind. An unreachable database is not waited for.
    """
    return repeated(change, seconds=_BUSY, again=_is_busy, notice=_notice_once())


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, BusyDatabase)


def _notice_once() -> Callable[[TrackerError], None]:
    seen: list[TrackerError] = []

    def notice(error: TrackerError) -> None:
        if not seen:
            typer.echo(in_lines(f"Trying again: {error}"), err=True)
        seen.append(error)

    return notice
