"""Room on GPUs that a worker shares: waited for before a model is loaded, and made afterwards."""

import time

from tracker.database.db import patiently
from tracker.store import shared_gpus
from tracker.working.context import WorkerContext
from tracker.working.heartbeat import Beat

_LOOK_EVERY = 1.0  # seconds


def wait_for(bench: WorkerContext, beat: Beat) -> None:
    """Until no other worker uses the GPUs that this one spreads over; raises what `beat` raises."""
    while patiently(
        bench.sessions, lambda session: shared_gpus.are_taken(session, worker=bench.name)
    ):
        beat(0)
        time.sleep(_LOOK_EVERY)


def make(bench: WorkerContext) -> None:
    """Drop the models of a worker for large runs alone, and of one that has to give way to it."""
    if bench.loaded.ids and (
        bench.large_runs_only
        or patiently(
            bench.sessions,
            lambda session: shared_gpus.has_to_make_room(session, worker=bench.name),
        )
    ):
        bench.loaded.drop_all()
