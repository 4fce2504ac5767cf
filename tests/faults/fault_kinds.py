"""The kinds of faults that the nemesis knows; each is applied at once and lifted by itself.

A kind returns whether it was applied: what is broken already is not broken again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import text

from tracker.database.db import transaction
from tracker.queueing import broker

from .actor import Actor
from .proxy import SERVER_ERROR, Mode, Proxy
from .world import LEASE

if TYPE_CHECKING:
    from .nemesis import Nemesis

OfWorker = Callable[["Nemesis", Actor], None]
KINDS: dict[str, Callable[[Nemesis], bool]] = {}
A_MOMENT = 2.0  # seconds
GRACE = 20.0  # seconds that a worker has for a warm shutdown, as in the stack


def kind(name: str, *, of: str = "") -> Callable[[Callable[[Nemesis], None]], object]:
    """Register a kind; `of` names what it breaks, which must be whole for it."""

    def register(apply: Callable[[Nemesis], None]) -> object:
        def once(nemesis: Nemesis) -> bool:
            if of in nemesis.held:
                return False
            apply(nemesis)
            return True

        KINDS[name] = once
        return apply

    return register


def of_worker(name: str, *, at_work: bool = False) -> Callable[[OfWorker], object]:
    """Register a kind that breaks some worker that is not frozen, one `at_work` where it can."""

    def register(apply: OfWorker) -> object:
        def once(nemesis: Nemesis) -> bool:
            busy = _busy(nemesis) if at_work else set()
            worker = nemesis.crew.pick(nemesis.rng, among=busy)
            if worker is None:
                return False
            apply(nemesis, worker)
            if at_work:
                nemesis.hit(name, worker)
            return True

        KINDS[name] = once
        return apply

    return register


def _busy(nemesis: Nemesis) -> set[str]:
    """The workers that hold a part, by name: a moment is waited for one; none where nobody does."""
    running = text("SELECT DISTINCT worker FROM headbook.part WHERE state = 'running'")
    end = time.monotonic() + A_MOMENT
    while "postgres" not in nemesis.held and time.monotonic() < end:
        with transaction(nemesis.world.sessions) as session:
            found = set(session.scalars(running))
        if found:
            return found
        time.sleep(0.02)
    return set()


@of_worker("worker's child killed", at_work=True)
def _(nemesis: Nemesis, worker: Actor) -> None:
    worker.kill_child()


@of_worker("worker killed", at_work=True)
def _(nemesis: Nemesis, worker: Actor) -> None:
    worker.kill()


@of_worker("worker frozen for three leases", at_work=True)
def _(nemesis: Nemesis, worker: Actor) -> None:
    nemesis.crew.frozen.add(worker)
    worker.freeze()

    def thaw() -> None:
        worker.thaw()
        nemesis.crew.frozen.discard(worker)

    nemesis.later(3 * LEASE, thaw)


@of_worker("worker told to end", at_work=True)
def _(nemesis: Nemesis, worker: Actor) -> None:
    nemesis.crew.let_go(worker, grace=GRACE)


@of_worker("worker cut off from Postgres, half open")
def _(nemesis: Nemesis, worker: Actor) -> None:
    _for_a_while(nemesis, worker.lines.database, Mode.BLACKHOLE, 2 * LEASE)


@of_worker("worker's connections to Postgres reset")
def _(nemesis: Nemesis, worker: Actor) -> None:
    worker.lines.database.reset_once()


@of_worker("worker refused by Postgres")
def _(nemesis: Nemesis, worker: Actor) -> None:
    _for_a_while(nemesis, worker.lines.database, Mode.REFUSE, LEASE)


@of_worker("worker's replies to COMMIT lost")
def _(nemesis: Nemesis, worker: Actor) -> None:
    worker.lines.database.lose_commits(2)


@of_worker("reply to a part's COMMIT lost")
def _(nemesis: Nemesis, worker: Actor) -> None:
    worker.lines.database.lose_commits(1, after=b"COPY headbook.")


@of_worker("worker's connections to Valkey reset")
def _(nemesis: Nemesis, worker: Actor) -> None:
    worker.lines.broker.reset_once()


@of_worker("worker cut off from Valkey, half open")
def _(nemesis: Nemesis, worker: Actor) -> None:
    _for_a_while(nemesis, worker.lines.broker, Mode.BLACKHOLE, 2 * LEASE)


@kind("person's reply to COMMIT lost")
def _(nemesis: Nemesis) -> None:
    nemesis.people.line.lose_commits(1, after=b"headbook.run")


@kind("Valkey flushed", of="valkey")
def _(nemesis: Nemesis) -> None:
    with nemesis.world.valkey.client() as client:
        client.flushall()


@kind("Valkey killed, started empty", of="valkey")
def _(nemesis: Nemesis) -> None:
    nemesis.world.valkey.lose_everything()
    nemesis.hold("valkey", 2.0, lambda: None)  # until it answers again


@kind("Valkey frozen", of="valkey")
def _(nemesis: Nemesis) -> None:
    nemesis.world.valkey.freeze()
    nemesis.hold("valkey", nemesis.rng.uniform(2, 7), nemesis.world.valkey.thaw)


@kind("five rings for one run", of="valkey")
def _(nemesis: Nemesis) -> None:
    if "postgres" in nemesis.held:
        return
    waiting = text("SELECT id FROM headbook.run WHERE finished_at IS NULL LIMIT 3")
    with transaction(nemesis.world.sessions) as session:
        found = list(session.scalars(waiting))
    with nemesis.world.bell() as app:
        for run_id in [each for each in found for _ in range(5)]:
            broker.wake(app, run_id)


@kind("Postgres crashed", of="postgres")
def _(nemesis: Nemesis) -> None:
    nemesis.world.postgres.crash()
    nemesis.hold("postgres", nemesis.rng.uniform(0, 2), nemesis.world.postgres.start)


@kind("Postgres frozen for two leases", of="postgres")
def _(nemesis: Nemesis) -> None:
    nemesis.world.postgres.freeze()
    nemesis.hold("postgres", 2 * LEASE, nemesis.world.postgres.thaw)


@kind("MLflow killed", of="mlflow")
def _(nemesis: Nemesis) -> None:
    nemesis.world.mlflow.kill()
    nemesis.hold("mlflow", nemesis.rng.uniform(1, 6), nemesis.world.mlflow.begin)


@kind("MLflow frozen", of="mlflow")
def _(nemesis: Nemesis) -> None:
    nemesis.world.mlflow.freeze()
    nemesis.hold("mlflow", nemesis.rng.uniform(2, 7), nemesis.world.mlflow.thaw)


@kind("MLflow answers 500", of="mlflow")
def _(nemesis: Nemesis) -> None:
    lines = [each.lines.tracking for each in nemesis.crew.workers]
    for each in lines:
        each.answer = SERVER_ERROR

    def lift() -> None:
        for each in lines:
            each.answer = None

    nemesis.hold("mlflow", nemesis.rng.uniform(2, 6), lift)


@kind("dispatcher killed")
def _(nemesis: Nemesis) -> None:
    for each in nemesis.crew.dispatchers:
        each.kill()


@kind("two dispatchers")
def _(nemesis: Nemesis) -> None:
    second = nemesis.world.dispatcher()
    nemesis.crew.dispatchers.append(second)
    nemesis.later(8.0, second.kill)


@kind("dispatcher cut off from Postgres, half open")
def _(nemesis: Nemesis) -> None:
    _for_a_while(nemesis, nemesis.crew.dispatchers[0].lines.database, Mode.BLACKHOLE, 2 * LEASE)


def _for_a_while(nemesis: Nemesis, line: Proxy, mode: Mode, seconds: float) -> None:
    line.set(mode)
    nemesis.later(seconds, lambda: line.set(Mode.PASS))
