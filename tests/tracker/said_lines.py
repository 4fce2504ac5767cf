"""What was said of runs, as tests say and read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.results import LogLine
from tracker.run_logs import run_log

from .part_work import claim

say = print  # what an analysis does


@contextmanager
def part_under_way(sessions: Sessions, run: Run) -> Iterator[None]:
    """The worker w1 is at a part of the run: what is said meanwhile is kept."""
    with run_log.kept(claim(sessions, run.id), sessions=sessions, worker="w1"):
        yield


def read(sessions: Sessions, run_id: UUID, **which: Any) -> list[LogLine]:
    with transaction(sessions) as session:
        return list(results.run_log(session, run_id, **which).lines)


def said(sessions: Sessions, run_id: UUID) -> list[str]:
    return [line.line for line in read(sessions, run_id) if line.level != results.EVENT]
