"""The guard of readers, which a hardened database has."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from tracker.database.rights import guard


def tend(session: Session) -> int:
    """End readers beyond their limits, and take back what they changed; how many were ended."""
    if not session.scalar(text(guard.may_call(guard.TEND))):
        return 0
    return int(session.scalar(text(f"SELECT {guard.TEND}")) or 0)
