"""Replaces the consumer of Celery's worker: it looks for work and gives it to the one child.

Celery consumes no message. A wake-up only makes this consumer look into Postgres earlier than it
would by itself, so that messages that the broker delays, loses or rejects cost seconds at most.
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
from tracker.domain.wakeups import Wakeup
from tracker.store import next_work
from tracker.working import tasks
from tracker.working.wakeup_queue import WakeupQueue

log = get_logger(__name__)

_TICK = 0.1  # seconds between two checks of the child
_PAUSE = 0.2  # seconds until the next request to a broker that had no wake-up


class PollingConsumer:
    """Started by Celery's worker in its main thread; a second thread waits for work.

    Celery's worker calls the methods by these names.
    """

    connection = task_consumer = None  # attributes that Celery expects

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
        self._wakeups = WakeupQueue(app)
        self._look_at = time.monotonic() + look_every * random.random()
        self._next: Wakeup | None = None  # for the child, once it is free
        self._task: Any = None  # that the child is doing
        self._free, self._ended = threading.Event(), threading.Event()
        self._free.set()

    def start(self) -> None:
        """Run until the worker is told to stop, which raises an exception here."""
        self._controller.register_with_event_loop(self._hub)
        self._hub.timer.call_repeatedly(_TICK, self._hand_over)
        self._ready(self)
        if not self.pool.did_start_ok():
            raise WorkerLostError("The worker's child process could not be started.")
        threading.Thread(target=self._poll, name="polling", daemon=True).start()
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
        """There are none: work that is not done is found in Postgres again."""

    def _poll(self) -> None:
        while not self._ended.is_set():
            if not self._free.wait(1):  # a busy worker leaves wake-ups to others
                continue
            wakeup = self._wakeups.next()
            work = self._work_after(wakeup)
            if work is not None:
                self._free.clear()
                self._next = work
            elif wakeup is None:
                self._ended.wait(_PAUSE)

    def _work_after(self, wakeup: Wakeup | None) -> Wakeup | None:
        now = time.monotonic()
        if wakeup is None and now < self._look_at:
            return None
        # Workers that were woken up at the same time must not all query at the same time.
        self._look_at = now + self._look_every * random.uniform(0.75, 1.25)
        try:
            with transaction(self._sessions) as session:
                return next_work.next_work(session, wakeup, worker=self._worker)
        except Exception as error:
            log.warning("the queue could not be read", error=str(error))
            return None

    def _hand_over(self) -> None:
        """Give the child its next task; in the main thread, to which the pool belongs."""
        if self._task is not None:
            if self._task.ready():
                self._task = None
                self._free.set()
        elif (work := self._next) is not None and not self._ended.is_set():
            self._next = None
            self._task = self.pool.apply_async(tasks.run_task, (work.task, str(work.run_id)))
