"""A worker process as `headbook worker` starts it, and a dispatcher's part in what it does."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

from stored_runs import detail
from waits import when

from tracker.database.db import Sessions
from tracker.queueing import broker, dispatcher
from tracker.results import RunLine


@contextmanager
def working(environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Inside the block a worker runs, which writes into that file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tracker.cli", "worker"],
            env=os.environ | environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def published(
    run_id: UUID, *, sessions: Sessions, broker_url: str, seconds: float = 400
) -> RunLine:
    """The run once MLflow shows its end; until then this does what the dispatcher does."""

    def ended() -> RunLine | None:
        dispatcher.reap(sessions)
        dispatcher.wake_due(app, sessions)
        line = detail(sessions, run_id).line
        return line if line.published else None

    with closing(broker.celery_app(broker_url)) as app:
        line = when(ended, seconds=seconds)
    assert line is not None
    return line
