"""What Celery calls a worker's consumer: it finds errands, and gives them to the one child.

It consumes no message of a task. A ring only makes it look at Postgres sooner than it would by
itself, so that what the broker holds, loses or refuses costs seconds.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.exceptions import WorkerLostError
from celery.worker.state import maybe_shutdown
from structlog import get_logger

from tracker.database.db import Sessions, transaction
from tracker.domain.wakeups import Ring
from tracker.store import errands
from tracker.working import tasks
from tracker.working.wakeup_queue import Doorbell

log = get_logger(__name__)

_TICK = 0.1  # seconds between two looks at what the child does
_PAUSE = 0.2  # seconds before the broker is asked again that had no ring


class Answering:
    """Begun by Celery's worker, in its main thread; a thread beside it waits for errands.

    The names of its methods are those that Celery's worker calls.
    """

    connection = task_consumer = None  # what a consumer of Celery's own has

    def __init__(
        self,
        _process: object,
        *,
        sessions: Sessions,
        look_every: float,
        worker: str,
        app: Any,
        pool: Any,
        hub: Any,
        controller: Any,
        init_callback: Callable[[Any], object],
        **_: Any,
    ) -> None:
        self._sessions, self._look_every, self._worker = sessions, look_every, worker
        self.pool, self._hub, self._controller = pool, hub, controller
        self._ready = init_callback
        self._doorbell = Doorbell(app)
        self._look_at = time.monotonic() + look_every * random.random()
        self._errand: Ring | None = None
        self._task: Any = None  # what the child does now
        self._free, self._ended = threading.Event(), threading.Event()
        self._free.set()

    def start(self) -> None:
        """Until the worker is told to stop, which is raised here."""
        self._controller.register_with_event_loop(self._hub)
        self._hub.timer.call_repeatedly(_TICK, self._hand_over)
        self._ready(self)
        if not self.pool.did_start_ok():
            raise WorkerLostError("The worker's child process could not be started.")
        threading.Thread(target=self._watch, name="watching", daemon=True).start()
        loop = self._hub.create_loop()
        while True:
            maybe_shutdown()
            try:
                next(loop)
            except StopIteration:
                loop = self._hub.create_loop()

    def close(self) -> None:
        self._ended.set()

    def stop(self) -> None:
        self._ended.set()

    def shutdown(self) -> None:
        self._ended.set()

    def cancel_active_requests(self) -> None:
        """There are none: an errand that is not done is found again."""

    def _watch(self) -> None:
        while not self._ended.is_set():
            if not self._free.wait(1):  # a busy worker leaves the rings to others
                continue
            ring = self._doorbell.next()
            errand = self._errand_for(ring)
            if errand is not None:
                self._free.clear()
                self._errand = errand
            elif ring is None:
                self._ended.wait(_PAUSE)

    def _errand_for(self, ring: Ring | None) -> Ring | None:
        now = time.monotonic()
        if ring is None and now < self._look_at:
            return None
        # Workers that were rung for together must not all look at once.
        self._look_at = now + self._look_every * random.uniform(0.75, 1.25)
        try:
            with transaction(self._sessions) as session:
                return errands.next_errand(session, ring, worker=self._worker)
        except Exception as error:
            log.warning("the queue could not be looked at", error=str(error))
            return None

    def _hand_over(self) -> None:
        """In the main thread, to which the pool belongs."""
        if self._task is not None:
            if self._task.ready():
                self._task = None
                self._free.set()
        elif (errand := self._errand) is not None and not self._ended.is_set():
            self._errand = None
            asked = errand.task, str(errand.run_id)
            self._task = self.pool.apply_async(tasks.answer, asked)
