"""A model, a worker that lives, and what its run finds without faults: where crashes happen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import torch
from sqlalchemy import text
from tiny_llama import save_tiny_llama

from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.home.home import Home
from tracker.queueing import models, submission
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from . import stories
from .audit import audited
from .checker import References, Violation, broken, numbers
from .stories import Place

_CLAIMED_AGAIN = """
SELECT run_id, count(*) - count(DISTINCT part) FROM headbook.run_event
WHERE part IS NOT NULL AND event = 'running' GROUP BY run_id"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where processes crash, and what goes on without them."""

    place: Place
    sessions: Sessions
    second: WorkerContext  # the worker that lives
    references: References

    def broken(self) -> list[Violation]:
        """What the checker finds."""
        return broken(
            self.sessions, references=self.references, mlflow=self.second.artifacts.mlflow
        )

    def claimed_again(self) -> dict[UUID, int]:
        """How often parts were claimed beyond once each, by run."""
        with transaction(self.sessions) as session:
            return {run_id: count for run_id, count in session.execute(text(_CLAIMED_AGAIN))}  # noqa: C416

    def states(self) -> dict[UUID, str]:
        """How each run is."""
        with transaction(self.sessions) as session:
            rows = session.execute(text("SELECT id, state FROM headbook.run"))
            return {run_id: state for run_id, state in rows}  # noqa: C416


@contextmanager
def staged(
    sessions: Sessions, *, database_url: str, mlflow_uri: str, folder: Path
) -> Iterator[Scene]:
    """A scene on an empty database; one thread computes, as in the processes that are forked."""
    home, threads = Home(folder / "home"), torch.get_num_threads()
    save_tiny_llama(folder / "tiny", seed=0)
    models.add_model(
        str(folder / "tiny"), name="tiny", dtype="float32", home=home, roots=(), sessions=sessions
    )
    place = Place(database_url=database_url, mlflow_uri=mlflow_uri, home=home)
    second = place.bench("second")
    torch.set_num_threads(1)
    try:
        with stories.registered(), audited(sessions):
            asked = stories.request()
            first = submission.submit(asked, sessions=sessions, home=home, **stories.BY).run
            work(second, hint=None)
            references = {first.fingerprint: numbers(sessions, first.id)}
            yield Scene(place=place, sessions=sessions, second=second, references=references)
    finally:
        torch.set_num_threads(threads)
        db.close(second.aside)
        db.close(second.sessions)
