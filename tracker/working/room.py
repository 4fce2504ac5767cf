"""Room on GPUs that a worker shares: waited for before a model is loaded, and made afterwards."""

import time

from tracker.database.db import patiently
from tracker.store import shared_gpus
from tracker.working.context import WorkerContext
from tracker.working.heartbeat import Beat

_LOOK_EVERY = 1.0  # seconds


def wait_for(context: WorkerContext, beat: Beat) -> None:
    """Until no other worker uses the GPUs that this one spreads over; raises what `beat` raises."""
    while patiently(
        context.sessions, lambda session: shared_gpus.are_taken(session, worker=context.name)
    ):
        beat(0)
        time.sleep(_LOOK_EVERY)


def make(context: WorkerContext) -> None:
    """Drop the models of a worker for large runs alone, and of one that has to give way to it."""
    if context.loaded.ids and (
        context.large_runs_only
        or patiently(
            context.sessions,
            lambda session: shared_gpus.has_to_make_room(session, worker=context.name),
        )
    ):
        context.loaded.drop_all()
