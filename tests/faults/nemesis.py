"""Breaks one thing after the other under load, by a schedule that a seed decides."""

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable

from .actor import Actor
from .crew import Crew
from .fault_kinds import KINDS
from .load import People
from .recovery import Hit
from .world import World

STEP = 0.05  # seconds


class Nemesis:
    """Applies faults, each for a while; `crew` is tended between. Runs in the main thread."""

    def __init__(self, world: World, crew: Crew, people: People, *, seed: int, gap: float) -> None:
        self.world, self.crew, self.people = world, crew, people
        self.rng = random.Random(f"nemesis {seed}")
        self.counts: Counter[str] = Counter()
        self.hits: list[Hit] = []
        self.held: set[str] = set()  # what is broken now, and must not be broken twice
        self.history: list[dict[str, object]] = []
        self._gap = gap  # seconds between two faults, on average
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def strike(self, done: Callable[[], bool]) -> None:
        """One fault after the other, all kinds in turn, until `done`; then all are lifted."""
        order: list[str] = []
        due = time.monotonic()
        while not done():
            if time.monotonic() >= due:
                order = order or self.rng.sample(sorted(KINDS), len(KINDS))
                self._apply(order.pop())
                due = time.monotonic() + self.rng.uniform(0.2, 2 * self._gap - 0.2)
            self.tend()
        while self._later:
            self._lift()
        self.world.heal()

    def tend(self) -> None:
        """Let a moment pass: lift what is due, start what has died."""
        while self._later and self._later[0][0] <= time.monotonic():
            self._lift()
        self.crew.tend()
        for server in self.world.servers:
            if server.died:
                server.kill()
                self.later(1.0, server.begin)
        time.sleep(STEP)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), act))

    def hold(self, what: str, seconds: float, lift: Callable[[], None]) -> None:
        """Lift a fault after some seconds; until then `what` is not broken again."""
        self.held.add(what)

        def free() -> None:
            lift()
            self.held.discard(what)

        self.later(seconds, free)

    def hit(self, kind: str, worker: Actor) -> None:
        """Remember when a worker was struck, to see later what became of its part."""
        self.hits.append(Hit(kind=kind, worker=worker.name, at=time.time()))

    def rest(self, done: Callable[[], bool], *, seconds: float) -> float:
        """Tend the crew, without faults, until `done` or for so long; how long it took."""
        begun = time.monotonic()
        while not done() and time.monotonic() < begun + seconds:
            self.tend()
        return time.monotonic() - begun

    def _apply(self, kind: str) -> None:
        if KINDS[kind](self):
            self.counts[kind] += 1
            self.history.append({"at": time.time(), "fault": kind})

    def _lift(self) -> None:
        _, _, act = heapq.heappop(self._later)
        act()
