"""Keeps a claimed part alive while an analysis works on it, and says when to stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from structlog import get_logger

from tracker import db
from tracker.db import Sessions
from tracker.domain import PartClaim
from tracker.store import parts
from tracker.store.parts import CancelSeen, LeaseLost

log = get_logger(__name__)

_REPORT_EVERY = 1.0  # seconds between two writes of progress

Beat = Callable[[int], None]


class Released(Exception):
    """The worker is stopping and gives its part back."""


class StopRequest:
    """Set by a signal: the worker stops, its part goes back after the current batch."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self, number: signal.Signals) -> None:
        signal.signal(number, lambda *_: self._event.set())

    def check(self) -> None:
        if self._event.is_set():
            raise Released

    def __bool__(self) -> bool:
        return self._event.is_set()


@contextmanager
def kept_alive(
    claim: PartClaim, *, sessions: Sessions, lease: float, every: float, stop: StopRequest
) -> Iterator[Beat]:
    """Inside the block a thread renews the lease; the block reports how many prompts are done.

    The reported call raises `CancelSeen`, `LeaseLost` or `Released` when the work should stop.
    The thread has a connection of its own, so that a busy pool never costs a lease.
    """
    beating = _Beating(claim, lease=lease, every=every, stop=stop, sessions=sessions)
    thread = threading.Thread(target=beating.run, name=f"heartbeat-{claim.run_id}", daemon=True)
    thread.start()
    try:
        yield beating.report
    finally:
        beating.ended.set()
        thread.join()


class _Beating:
    def __init__(
        self,
        claim: PartClaim,
        *,
        lease: float,
        every: float,
        stop: StopRequest,
        sessions: Sessions,
    ) -> None:
        self.claim, self.lease, self.every, self.stop = claim, lease, every, stop
        self.sessions = db.alone(sessions)
        self.ended = threading.Event()
        self.done = 0
        self.verdict: Exception | None = None
        self.reported = time.monotonic()

    def run(self) -> None:
        try:
            while not self.ended.wait(self.every):
                self._beat()
        finally:
            db.close(self.sessions)

    def report(self, done: int) -> None:
        self.done = done
        if time.monotonic() - self.reported >= _REPORT_EVERY:
            self.reported = time.monotonic()
            self._beat()
        if self.verdict is not None:
            raise self.verdict
        self.stop.check()

    def _beat(self) -> None:
        try:
            with db.transaction(self.sessions) as session:
                asked = parts.heartbeat(session, self.claim, lease=self.lease, done=self.done)
            if asked:
                self.verdict = CancelSeen(self.claim)
        except LeaseLost as lost:
            self.verdict = lost
        except Exception:
            # The lease outlasts several missed beats; if it does not, the next write is refused.
            log.warning("heartbeat missed", run_id=str(self.claim.run_id), exc_info=True)
