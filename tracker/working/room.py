"""Memory on shared GPUs: a worker waits for it before it loads a model, and frees it afterwards."""

import time

from tracker.database.db import patiently
from tracker.store import shared_gpus
from tracker.working.context import WorkerContext
from tracker.working.heartbeat import Beat

_POLL_EVERY = 1.0  # seconds


def wait_for(context: WorkerContext, beat: Beat) -> None:
    """Wait until no other worker uses the GPUs over which this one spreads.

    Raises the errors of `beat`, such as a lost lease.
    """
    while patiently(
        context.sessions, lambda session: shared_gpus.are_taken(session, worker=context.name)
    ):
        beat(0)
        time.sleep(_POLL_EVERY)


def make(context: WorkerContext) -> None:
    """Drop the models of a worker for large runs only, and of one whose GPU such a worker needs."""
    if context.loaded.ids and (
        context.large_runs_only
        or patiently(
            context.sessions,
            lambda session: shared_gpus.has_to_make_room(session, worker=context.name),
        )
    ):
        context.loaded.drop_all()
