"""Opens the database for a command, and closes it when the command ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from tracker.database import db
from tracker.database.db import Sessions
from tracker.settings.settings import Settings


@contextmanager
def open_sessions(settings: Settings) -> Iterator[Sessions]:
    """Sessions on the settings' database. Raises `NoDatabase` if none is configured."""
    sessions = db.connect(settings.database())
    try:
        yield sessions
    finally:
        db.close(sessions)
