"""Keeps a spool small: copies that MLflow is known to have, or nobody needs, go after a day."""

from tracker.database.db import Sessions, transaction
from tracker.publishing.spool import Copy, Spool
from tracker.store import tensors

KEPT = 24 * 3600.0  # seconds in which a frozen worker may wake up and overwrite a verified file
MOST_BYTES = 20 * 2**30  # of all copies; those of unpublished tensors are kept in any case
_UNDER_WAY = 600.0  # seconds in which a worker of this home may still be uploading a file


def sweep(sessions: Sessions, spool: Spool, *, most_bytes: int = MOST_BYTES) -> int:
    """Delete the copies that are not needed any more; how many bytes.

    A copy of a tensor that is not published yet is kept. Others are kept for a day, or less if the
    spool is larger than `most_bytes`: then the oldest go first.
    """
    copies = spool.copies()
    if not copies:
        return 0
    with transaction(sessions) as session:
        published = tensors.published(session, [copy.name for copy in copies])
    gone = {copy for copy in copies if copy.age > KEPT and published.get(copy.name, True)}
    gone |= _beyond(most_bytes, [copy for copy in copies if copy not in gone], published)
    return sum(copy.size for copy in gone if spool.remove(copy))


def _beyond(most_bytes: int, left: list[Copy], published: dict[str, bool]) -> set[Copy]:
    """The oldest copies that may go, as many as exceed the limit."""
    beyond = set()
    over = sum(copy.size for copy in left) - most_bytes
    for copy in left:
        if over > 0 and copy.age > _UNDER_WAY and published.get(copy.name, False):
            beyond.add(copy)
            over -= copy.size
    return beyond
