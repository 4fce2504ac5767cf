"""Two transactions in a fixed order: the second starts inside the first, and waits or does not."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from tracker.database.db import Sessions, transaction

Step = Callable[[Session], object]
T = TypeVar("T")

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()"""


def nested(sessions: Sessions, *, before: Step, within: Step, after: Step) -> None:
    """One transaction does `before` and `after`; between them another does `within`.

    The other one has committed before the first goes on, unless it waits for a lock.
    """

    def other() -> None:
        with transaction(sessions) as session:
            within(session)

    with ThreadPoolExecutor(1) as pool:
        with transaction(sessions) as session:
            before(session)
            second = started(pool, sessions, other)
            after(session)
        second.result(30)


def started(pool: Executor, sessions: Sessions, act: Callable[[], T]) -> Future[T]:
    """Something that another thread does, as soon as it is done or waits for a lock."""
    doing = pool.submit(act)
    while not doing.done() and not _somebody_waits(sessions):
        time.sleep(0.002)
    return doing


def _somebody_waits(sessions: Sessions) -> bool:
    with transaction(sessions) as session:
        return session.scalars(text(_WAITING)).one() > 0
