"""Where a process may end: before and after each step of a run, and around each COMMIT.

A point names a function of the product. `arm` wraps it in the process that is to end there, which
does what it always does until then.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, Literal

from sqlalchemy.engine.default import DefaultDialect

When = Literal["before", "after", "before the COMMIT of", "after the COMMIT of"]
AROUND: tuple[When, ...] = ("before", "after")
COMMITTED: tuple[When, ...] = ("before the COMMIT of", "after the COMMIT of")


@dataclass(frozen=True, kw_only=True)
class Point:
    """Around the `call`-th call of a function in a story, or around the COMMIT that follows it."""

    story: str
    at: str  # module:function or module:Class.method
    when: When
    call: int

    def __str__(self) -> str:
        times = f" no. {self.call}" if self.call > 1 else ""
        return f"{self.story}: {self.when} {self.at}{times}"

    @property
    def in_transaction(self) -> bool:
        """Whether the process has written what it has not committed, and holds locks for it."""
        if self.when == "before":
            return self.at in _WITHIN
        return self.when == "before the COMMIT of" or (self.when == "after" and self.at in _WRITES)


_BENCH, _FILES = "tracker.working.context:WorkerContext", "tracker.publishing.artifacts"
_PUBLICATION, _HOLDS = "tracker.publishing.publication", "tracker.store.publications"
_MIRRORED = "tracker.publishing.mlflow_runs"
_PARTS, _ENDINGS = "tracker.store.parts", "tracker.store.endings"
_CLIENT = "mlflow:MlflowClient"

# The steps of a story in their order: a function, which call of it, whether the point is also at
# the COMMIT that follows. Two parts are measured; the third that is claimed finishes the run.
STORIES: dict[str, tuple[tuple[str, int, bool], ...]] = {
    "a run that succeeds": (
        (f"{_PARTS}:claim", 1, True),
        ("tracker.store.workers:works_on", 1, True),
        (f"{_BENCH}.inputs_of", 1, False),
        (f"{_BENCH}.language_model", 1, False),
        ("analyses.knowledge:measured", 1, False),
        ("tests.faults.stories:between_batches", 1, False),
        (f"{_PARTS}:fence", 1, False),
        ("tracker.store.part_tensors:insert_chunk", 1, True),
        (f"{_PARTS}:fence", 2, False),
        ("tracker.store.scores:insert_part_scores", 1, False),
        ("tracker.store.part_tensors:insert_part_tensors", 1, False),
        (f"{_ENDINGS}:finish_part", 1, True),
        (f"{_PARTS}:claim", 2, True),
        (f"{_ENDINGS}:finish_part", 2, True),
        (f"{_PARTS}:claim", 3, True),
        ("tracker.store.scores:joined_part_scores", 1, False),
        ("tracker.store.part_tensors:chunk", 1, False),
        ("tests.faults.stories:of_the_whole", 1, False),
        ("tracker.working.finishing:with_statistics", 1, False),
        (f"{_MIRRORED}:ensure_run", 1, False),
        (f"{_CLIENT}.create_run", 1, False),
        (f"{_HOLDS}:set_mlflow_ids", 1, True),
        ("tracker.publishing.spool:_write", 1, False),
        ("pathlib:Path.rename", 1, False),
        (f"{_CLIENT}.log_artifact", 1, False),
        (f"{_FILES}:ArtifactStore.get", 1, False),
        ("tracker.publishing.spool:Spool.put", 2, False),
        (f"{_CLIENT}.log_artifact", 2, False),
        (f"{_FILES}:ArtifactStore.get", 2, False),
        (f"{_PARTS}:fence", 5, False),
        ("tracker.store.scores:insert_scores", 1, False),
        ("tracker.store.tensors:insert_tensors", 1, False),
        (f"{_ENDINGS}:finish_run", 1, True),
        (f"{_HOLDS}:take", 3, True),
        (f"{_MIRRORED}:ensure_run", 2, False),
        (f"{_MIRRORED}:remove_doubles", 1, False),
        (f"{_HOLDS}:renew", 1, True),
        (f"{_HOLDS}:renew", 2, True),
        (f"{_PUBLICATION}:publish", 1, False),
        (f"{_CLIENT}.log_batch", 1, False),
        (f"{_CLIENT}.log_inputs", 1, False),
        (f"{_CLIENT}.log_artifact", 3, False),
        (f"{_CLIENT}.set_terminated", 1, False),
        (f"{_HOLDS}:published", 1, True),
    ),
    "a part is released": ((f"{_ENDINGS}:release", 1, True),),
    "MLflow is away": (
        (f"{_HOLDS}:reopen", 1, True),
        (f"{_ENDINGS}:release", 1, True),
    ),
    "memory runs out": ((f"{_ENDINGS}:retry", 1, True),),
    "the analysis raises": ((f"{_ENDINGS}:fail", 1, True),),
    "a measuring run is cancelled": ((f"{_ENDINGS}:cancelled", 1, True),),
    "a finishing run is cancelled": ((f"{_ENDINGS}:cancelled", 1, True),),
    "a person cancels": (("tracker.store.runs:cancel", 1, True),),
    "a person queues": (
        ("tracker.store.runs:insert_run", 1, True),
        ("tracker.store.studies:add_to_study", 1, False),
    ),
    "workers are rung": (
        ("tracker.store.runs:take_due", 1, False),
        (f"{_HOLDS}:due", 1, True),
    ),
    "a lost part is taken back": ((f"{_ENDINGS}:reap", 1, True),),
    "a worker starts again": ((f"{_ENDINGS}:lost", 1, True),),
}
_WITHIN = {  # what others have written for in the same transaction
    "tracker.store.scores:insert_part_scores",
    "tracker.store.part_tensors:insert_chunk",
    "tracker.store.part_tensors:insert_part_tensors",
    f"{_ENDINGS}:finish_part",
    "tracker.store.scores:insert_scores",
    "tracker.store.tensors:insert_tensors",
    f"{_ENDINGS}:finish_run",
    f"{_HOLDS}:due",
    "tracker.store.studies:add_to_study",
}
_WRITES = _WITHIN | {
    f"{_PARTS}:claim",
    f"{_PARTS}:fence",
    *(f"{_HOLDS}:{name}" for name in ("take", "renew", "published", "reopen", "set_mlflow_ids")),
    "tracker.store.runs:cancel",
    "tracker.store.runs:insert_run",
    "tracker.store.runs:take_due",
    *(f"{_ENDINGS}:{name}" for name in ("release", "retry", "fail", "cancelled", "reap", "lost")),
}


def points() -> Iterator[Point]:
    """Every point there is."""
    for story, steps in STORIES.items():
        for at, call, committed in steps:
            for when in AROUND + COMMITTED if committed else AROUND:
                yield Point(story=story, at=at, when=when, call=call)


def places() -> Iterator[Point]:
    """Those that differ: after a step is before the next one, or before its COMMIT."""
    for story, steps in STORIES.items():
        last = steps[-1]
        for each in points():
            step = (each.at, each.call)
            alone = step == last[:2] and not last[2]
            if each.story == story and (each.when != "after" or alone):
                yield each


def arm(point: Point, act: Callable[[], None]) -> None:
    """Let this process do `act` when it comes to the point."""
    owner, name = _found(point.at)
    original, calls = getattr(owner, name), 0

    @wraps(original)
    def wrapped(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == point.call and point.when == "before":
            act()
        given = original(*args, **more)
        if calls == point.call and point.when == "after":
            act()
        if calls == point.call and point.when in COMMITTED:
            _arm_commit(point.when, act)
        return given

    setattr(owner, name, wrapped)


def _found(at: str) -> tuple[Any, str]:
    module, _, path = at.partition(":")
    owner, names = import_module(module), path.split(".")
    for name in names[:-1]:
        owner = getattr(owner, name)
    return owner, names[-1]


def _arm_commit(when: When, act: Callable[[], None]) -> None:
    """Act around the next COMMIT of this thread, once; a heartbeat commits in another."""
    original, mine = DefaultDialect.do_commit, threading.get_ident()

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        if threading.get_ident() != mine:
            return original(self, connection)
        DefaultDialect.do_commit = original  # type: ignore[method-assign]
        if when == "before the COMMIT of":
            act()
        original(self, connection)
        if when == "after the COMMIT of":
            act()

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
