"""Workers and dispatchers that are kept running, as a supervisor keeps them."""

import random
import time
from collections.abc import Collection
from typing import Any

from .actor import Actor
from .world import World

# A server that is away is given up sooner than in the product, so that more faults fit in.
QUICKLY: dict[str, Any] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
}
PAUSE = 0.5  # seconds before a dead one is started again, as the stack's supervisor waits


class Crew:
    """So many workers and a dispatcher; whoever dies is followed by a fresh one."""

    def __init__(self, world: World, *, workers: int) -> None:
        self.world = world
        self._due: list[float] = []  # when a worker is to be started
        self.frozen: set[Actor] = set()
        self.leaving: dict[Actor, float] = {}  # told to end, and when patience ends
        self.dispatchers = [world.dispatcher()]
        self.workers = [self._hire() for _ in range(workers)]

    def tend(self) -> None:
        """Bury the dead, and start who follows them. Call it often, from the main thread."""
        now = time.monotonic()
        for actor, until in list(self.leaving.items()):
            if not actor.alive or now > until:
                del self.leaving[actor]
                self._forget(actor)
        for worker in [each for each in self.workers if not each.alive]:
            self.workers.remove(worker)
            self.frozen.discard(worker)
            self._forget(worker)
            self._due.append(now + PAUSE)
        for dispatcher in [each for each in self.dispatchers if not each.alive]:
            self.dispatchers.remove(dispatcher)
            self._forget(dispatcher)
        if not self.dispatchers:
            self.dispatchers.append(self.world.dispatcher())
        for due in [each for each in self._due if each <= now]:
            self._due.remove(due)
            self.workers.append(self._hire())

    def pick(self, rng: random.Random, *, among: Collection[str] = ()) -> Actor | None:
        """A worker that is not frozen, one of those names where there is one."""
        found = [each for each in self.workers if each.alive and each not in self.frozen]
        wanted = [each for each in found if any(n.startswith(each.name) for n in among)]
        found = wanted or found
        return rng.choice(found) if found else None

    def let_go(self, worker: Actor, *, grace: float) -> None:
        """A warm shutdown; a fresh worker comes at once."""
        self.workers.remove(worker)
        worker.terminate()
        self.leaving[worker] = time.monotonic() + grace
        self.workers.append(self._hire())

    def _hire(self) -> Actor:
        return self.world.worker(**QUICKLY)

    def _forget(self, actor: Actor) -> None:
        actor.end()
        self.world.actors.remove(actor)
