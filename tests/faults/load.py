"""People who queue runs, click twice and cancel, while things break around them."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from analyses.prompts.distributions import DistributionSpec
from tracker.database import db
from tracker.database.db import passes, transaction
from tracker.domain import RunRequest
from tracker.errors import TrackerError
from tracker.queueing import submission
from tracker.queueing.submission import Checked
from tracker.store import runs

from . import checker
from .checker import References
from .proxy import Proxy
from .world import REAL, TINY, World

T = TypeVar("T")
REAL_SHARE = 0.12  # of the runs are a real analysis of a real model
CANCELLED = 0.05  # of the runs
TWICE = 0.05  # of the clicks
_LIVE = "SELECT count(*) FROM headbook.run WHERE finished_at IS NULL"


def requests() -> list[RunRequest]:
    """What is asked for: quick runs of several kinds, and attribution of the shipped model."""
    quick = [
        _request(
            "steps",
            TINY,
            DistributionSpec(size=size, seed=seed),
            {"batch_size": 2, "tensor": seed == 0, "pause": pause},
        )
        for seed, size in ((0, 4), (1, 8), (2, 6))
        for pause in (0.0, 0.2)
    ]
    real = [
        _request("attribution", REAL, DistributionSpec(size=4, seed=seed), {"batch_size": 2})
        for seed in (3, 4)
    ]
    return quick + real


def _request(
    analysis: str, model: str, spec: DistributionSpec, params: dict[str, object]
) -> RunRequest:
    return RunRequest(analysis=analysis, model=model, recipe=spec, parameters=params, force=True)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for, found possible once; and what each of it finds without faults."""

    quick: list[Checked]
    real: list[Checked]
    references: References


def without_faults(world: World) -> Asked:
    """Run each request once in peace."""
    checked = submission.check(requests(), sessions=world.sessions, home=world.home)
    made = submission.record(checked, created_by="ada", sessions=world.sessions)
    for line in world.ended([each.run.id for each in made], seconds=180):
        assert line.state == "succeeded", line
    return Asked(
        quick=[each for each in checked if each.request.model == TINY],
        real=[each for each in checked if each.request.model == REAL],
        references={
            each.run.fingerprint: checker.numbers(world.sessions, each.run.id) for each in made
        },
    )


class People(threading.Thread):
    """Queue `total` runs, never more than `ahead` that have not ended, until told to stop.

    Each click has a nonce and is repeated until it is answered. Their connections have a proxy.
    """

    def __init__(self, world: World, asked: Asked, *, seed: int, total: int, ahead: int) -> None:
        super().__init__(name="people", daemon=True)
        self.clicks: list[str] = []
        self.counts: Counter[str] = Counter()
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self.line = Proxy(world.network, Path(world.postgres.socket))
        url = world.database_url(self.line.port, name="people")
        self._sessions = db.connect(url, pool_size=5)
        self._asked, self._total, self._ahead = asked, total, ahead
        self._rng = random.Random(f"people {seed}")
        self._to_cancel: list[tuple[float, UUID]] = []

    @property
    def done(self) -> bool:
        return not self.is_alive()

    def run(self) -> None:
        try:
            while len(self.clicks) < self._total and not self.stopped.is_set():
                self._cancel_some()
                if self._until_answered(lambda s: s.scalar(text(_LIVE))) >= self._ahead:
                    self.stopped.wait(0.1)
                else:
                    self._click()
            self._to_cancel = [(0.0, run_id) for _, run_id in self._to_cancel]
            self._cancel_some()
        except BaseException as error:
            self.error = error

    def close(self) -> None:
        self.stopped.set()
        self.join(60)
        db.close(self._sessions)
        self.line.close()

    def _click(self) -> None:
        rng, nonce = self._rng, uuid4().hex
        kind = rng.choice(self._asked.real if rng.random() < REAL_SHARE else self._asked.quick)
        click = partial(self._record, kind, nonce, rng.choice((2, 4, 8)))
        self.clicks.append(nonce)
        if rng.random() < TWICE:
            self.counts["clicked twice"] += 1
            with ThreadPoolExecutor(2) as both:
                first, second = [each.result() for each in (both.submit(click), both.submit(click))]
            assert first == second, f"the click {nonce} has made {first} and {second}"
        else:
            first = click()
        if rng.random() < CANCELLED:
            self._to_cancel.append((time.monotonic() + rng.uniform(0, 6), first))

    def _record(self, checked: Checked, nonce: str, prompts_per_part: int) -> UUID:
        def record() -> UUID:
            (made,) = submission.record(
                [checked],
                created_by="ada",
                sessions=self._sessions,
                prompts_per_part=prompts_per_part,
                nonce=nonce,
            )
            return made.run.id

        return self._patiently(record)

    def _cancel_some(self) -> None:
        now = time.monotonic()
        for due, run_id in [each for each in self._to_cancel if each[0] <= now]:
            self._until_answered(partial(runs.cancel, run_id=run_id))
            self._to_cancel.remove((due, run_id))
            self.counts["cancelled by a person"] += 1

    def _until_answered(self, ask: Callable[[Session], T]) -> T:
        def once() -> T:
            with transaction(self._sessions) as session:
                return ask(session)

        return self._patiently(once)

    def _patiently(self, work: Callable[[], T]) -> T:
        """As a person does who clicks again."""
        while True:
            try:
                return work()
            except TrackerError as error:
                if not passes(error):
                    raise
                self.counts["clicked again"] += 1
                time.sleep(0.2)
