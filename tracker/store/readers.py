"""Calls the guard that limits readers; only a hardened database has it."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from tracker.database.rights import guard


def tend(session: Session) -> int:
    """End sessions of readers that exceed their limits, and undo their changes.

    Returns the number of sessions.
    """
    if not session.scalar(text(guard.may_call(guard.TEND))):
        return 0
    return int(session.scalar(text(f"SELECT {guard.TEND}")) or 0)
