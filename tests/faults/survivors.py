"""What goes on when others have crashed: a reaper, a dispatcher and a worker, in one loop."""

import time

from sqlalchemy import text

from tracker.database.db import Sessions, transaction
from tracker.queueing import dispatcher
from tracker.store import publications, runs
from tracker.working.context import WorkerContext
from tracker.working.execution import publish_if_ended, work

_LEFT = """
SELECT count(*) FROM headbook.run LEFT JOIN headbook.publication ON run_id = id
WHERE finished_at IS NULL OR publication.state <> 'published'"""


class NotAllEnded(Exception):
    def __init__(self, left: int, seconds: float) -> None:
        super().__init__(f"{left} runs have not ended, or are not published, after {seconds} s.")


def go_on(bench: WorkerContext, *, seconds: float = 180) -> None:
    """Reap and ring, and do what was rung for, until all has ended and is published."""
    deadline = time.monotonic() + seconds
    while left := _left(bench.sessions):
        if time.monotonic() > deadline:
            raise NotAllEnded(left, seconds)
        dispatcher.reap(bench.sessions)
        _answer(bench)
        time.sleep(0.05)


def _answer(bench: WorkerContext) -> None:
    """One ring at a time, as a worker hears them."""
    with transaction(bench.sessions) as session:
        due, unpublished = runs.take_due(session, limit=1), publications.due(session, limit=1)
    for run_id in due:
        work(bench, hint=run_id)
    for run_id in unpublished:
        publish_if_ended(bench, run_id)


def _left(sessions: Sessions) -> int:
    with transaction(sessions) as session:
        return session.scalars(text(_LEFT)).one()
