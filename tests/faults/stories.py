"""What a process goes through until it ends at a crash point: a run's whole way, or a turn of it.

The processes are forked from one that has torch and the product in memory, so that one more costs
no seconds. Nothing here stands in for the product: workers and analyses are the real ones.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import numpy as np
from mlflow import MlflowClient
from sqlalchemy import make_url

from analyses import registry, streaming
from analyses.prompts.distributions import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Derived, Measured, NamedTensor, ScoreKey
from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import RunRequest
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.queueing import dispatcher, submission
from tracker.run_logs import logs
from tracker.store import parts, publications, runs
from tracker.working import tasks, unfinished_parts
from tracker.working.context import WorkerContext
from tracker.working.execution import work
from tracker.working.heartbeat import Limits

from .crash_points import Point, arm

Ends = Literal[signal.Signals.SIGKILL, signal.Signals.SIGSTOP]

NAME = "logits"
LEASE, BEAT = 5.0, 0.2  # seconds
IDLE = "2s"  # after which Postgres ends the transaction of a process that has stopped
BETWEEN: list[Callable[[], None]] = []  # done between two batches
BEFORE_WHOLE: list[Callable[[], None]] = []  # done before a run's numbers are put together


class LogitsParams(Params):
    """None of its own."""


def between_batches() -> None:
    for act in BETWEEN:
        act()


def of_the_whole(measured: Measured) -> Derived:
    for act in BEFORE_WHOLE:
        act()
    whole = measured.tensors["logits"].values
    return Derived(
        numbers={ScoreKey(MODEL, Quantity("largest")): float(whole.max())},
        tensors={"sorted": NamedTensor(np.sort(whole, axis=0), ("rank", "label"))},
    )


def derive(measured: Measured, params: LogitsParams) -> Derived:
    return of_the_whole(measured)


def logits(lm: Any, prompts: Sequence[Any], params: LogitsParams, progress: Any) -> Measured:
    """What the model says at the labels."""

    def measure(together: Sequence[Any]) -> Measured:
        between_batches()
        batch = lm.batch(together)
        said = lm.record(batch).logits.gather(1, batch.label_ids).numpy()
        return Measured(
            scores={ScoreKey(MODEL, Quantity("mean_logit")): said.mean(1)},
            tensors={"logits": NamedTensor(said, ("prompt", "label"))},
        )

    return streaming.streamed(lm, prompts, params, progress, measure)


@contextmanager
def registered() -> Iterator[None]:
    """Inside the block the analysis is there."""
    analysis(NAME, version=1, params=LogitsParams, derive=derive)(logits)
    try:
        yield
    finally:
        del registry._ANALYSES[NAME]


def request(**changes: Any) -> RunRequest:
    """The run of every story: eight prompts in two parts of two batches."""
    asked = {
        "analysis": NAME,
        "model": "tiny",
        "recipe": DistributionSpec(size=8),
        "parameters": {"batch_size": 2},
        "force": True,
    }
    return RunRequest(**asked | changes)


# Who queues that run, and how it is cut.
BY: dict[str, Any] = {"created_by": "ada", "prompts_per_part": 4}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the processes of a test work."""

    database_url: str
    mlflow_uri: str
    home: Home

    def sessions(self, writer: str) -> Sessions:
        """Sessions that the audit tells from those of others by the name of the writer."""
        url = make_url(self.database_url).update_query_dict({"application_name": writer})
        return db.connect(url)

    def bench(self, name: str) -> WorkerContext:
        sessions = self.sessions(name)
        return WorkerContext(
            name=name,
            sessions=sessions,
            aside=db.beside(sessions),
            artifacts=ArtifactStore(
                mlflow=mlflow_client(self.mlflow_uri), spool=Spool(self.home.spool)
            ),
            home=self.home,
            roots=(),
            device="cpu",
            limits=Limits(lease=LEASE, heartbeat=BEAT),
        )


@dataclass(frozen=True, kw_only=True)
class Act:
    """Ends or stops the process at a point of its story."""

    point: Point
    run_id: UUID | None
    signal: Ends
    writer: str

    def play(self, place: Place) -> None:
        """Go through the story; a process that is stopped and goes on ends it."""
        if self.signal is signal.SIGSTOP:
            db.LIMITS["idle_in_transaction_session_timeout"] = IDLE
        logs.configure()
        publications._HOLD = 1
        unfinished_parts._MLFLOW_WAIT = 0.1
        with registered():
            arm(self.point, lambda: os.kill(os.getpid(), self.signal))
            _STORIES[self.point.story](place.bench(self.writer), self.run_id)


def _succeeds(bench: WorkerContext, run_id: UUID | None) -> None:
    work(bench, hint=run_id)


def _is_released(bench: WorkerContext, run_id: UUID | None) -> None:
    bench.stop.listen(signal.SIGUSR2)
    BETWEEN.append(lambda: os.kill(os.getpid(), signal.SIGUSR2))
    work(bench, hint=run_id)


def _without_mlflow(bench: WorkerContext, run_id: UUID | None) -> None:
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    bench.artifacts.mlflow = MlflowClient("http://127.0.0.1:1")
    work(bench, hint=run_id)


def _raises(error: Exception) -> Callable[[WorkerContext, UUID | None], None]:
    def story(bench: WorkerContext, run_id: UUID | None) -> None:
        def act() -> None:
            raise error

        BETWEEN.append(act)
        work(bench, hint=run_id)

    return story


def _cancels(at: list[Callable[[], None]]) -> Callable[[WorkerContext, UUID | None], None]:
    def story(bench: WorkerContext, run_id: UUID | None) -> None:
        def act() -> None:
            _cancel(bench, run_id)
            time.sleep(2 * BEAT)  # until a heartbeat has seen it

        at.append(act)
        work(bench, hint=run_id)

    return story


def _cancel(bench: WorkerContext, run_id: UUID | None) -> None:
    assert run_id is not None
    with transaction(bench.sessions) as session:
        runs.cancel(session, run_id)


def _queues(bench: WorkerContext, _: UUID | None) -> None:
    asked = request(study="stories")
    submission.submit(asked, nonce=bench.name, sessions=bench.sessions, home=bench.home, **BY)


def _rings(bench: WorkerContext, _: UUID | None) -> None:
    dispatcher._due(bench.sessions, 1000)


def _reaps(bench: WorkerContext, run_id: UUID | None) -> None:
    _loses(bench, run_id, lease=0)
    dispatcher.reap(bench.sessions)


def _takes_back(bench: WorkerContext, run_id: UUID | None) -> None:
    _loses(bench, run_id, lease=LEASE)
    os.environ["DATABASE_URL"] = bench.sessions.kw["bind"].url.render_as_string(hide_password=False)
    os.environ["HEADBOOK_WORKER"] = bench.name
    tasks._release_lost_parts()


def _loses(bench: WorkerContext, run_id: UUID | None, *, lease: float) -> None:
    """A worker of that name claims a part and is never heard of again."""
    assert run_id is not None
    with transaction(bench.sessions) as session:
        assert parts.claim(session, run_id, worker=bench.name, lease=lease) is not None


_STORIES: dict[str, Callable[[WorkerContext, UUID | None], None]] = {
    "a run that succeeds": _succeeds,
    "a part is released": _is_released,
    "MLflow is away": _without_mlflow,
    "memory runs out": _raises(MemoryError("too big")),
    "the analysis raises": _raises(ValueError("no such layer")),
    "a measuring run is cancelled": _cancels(BETWEEN),
    "a finishing run is cancelled": _cancels(BEFORE_WHOLE),
    "a person cancels": _cancel,
    "a person queues": _queues,
    "workers are rung": _rings,
    "a lost part is taken back": _reaps,
    "a worker starts again": _takes_back,
}
