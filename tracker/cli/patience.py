"""How long a command waits for a database that is away for a moment, and what it says meanwhile."""

from collections.abc import Callable
from typing import TypeVar

import typer

from analyses.shown import in_lines
from tracker.database.db import BusyDatabase, passes, repeated
from tracker.errors import TrackerError

T = TypeVar("T")

_OUTAGE = 300.0  # seconds that who looks at a run under way waits for the database
_BUSY = 30.0  # seconds that who asks for something waits for a database that says: not now


def through_outages(look: Callable[[], T]) -> T:
    """What it gives, tried again while the database is away; said once for each outage."""
    return repeated(look, seconds=_OUTAGE, again=passes, notice=_said_once())


def while_busy(ask: Callable[[], T]) -> T:
    """What it gives, tried again while the database takes nothing, as in a failover.

    Nothing of a try that failed so is left. A database that is not there is not waited for.
    """
    return repeated(ask, seconds=_BUSY, again=_is_busy, notice=_said_once())


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, BusyDatabase)


def _said_once() -> Callable[[TrackerError], None]:
    said: list[TrackerError] = []

    def say(error: TrackerError) -> None:
        if not said:
            typer.echo(in_lines(f"Trying again: {error}"), err=True)
        said.append(error)

    return say
