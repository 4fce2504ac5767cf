"""Renews the lease of a claimed part while an analysis works on it, and says when to stop."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session
from structlog import get_logger

from tracker.database import db
from tracker.database.db import Sessions
from tracker.domain import PartClaim, ProofClaim
from tracker.store import parts
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.working.deadline import GONE, Deadline

log = get_logger(__name__)

_REPORT_EVERY = 1.0  # seconds between two writes of progress
_CHECK_EVERY = 1.0  # seconds between two checks of the time limits

Beat = Callable[[int], None]
Claim = PartClaim | ProofClaim
GiveUp = Callable[[Exception], None]


class Renew(Protocol):
    """Renews the lease of a claim; True if a person has asked to stop. Raises `LeaseLost`."""

    def __call__(self, session: Session, claim: Any, /, *, lease: float, done: int) -> bool: ...


class Released(Exception):
    """The worker is shutting down and releases its part."""


class OutOfTime(Exception):
    """The part took too long, or made no progress for too long; the attempt has failed."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of a part, in seconds."""

    lease: float = 60  # how long a claim lasts without a heartbeat
    heartbeat: float = 15  # between two heartbeats
    stall: float = 1800  # without a report of progress, for example while a model is loaded
    part: float = 14_400  # for the whole part
    grace: float = 10  # for an analysis that was told to stop, before its process is ended


class StopRequest:
    """Set by a signal: the worker stops and releases its part after the current batch."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self, number: signal.Signals) -> None:
        signal.signal(number, lambda *_: self._event.set())

    def __bool__(self) -> bool:
        return self._event.is_set()


@contextmanager
def kept_alive(
    claim: Claim,
    *,
    since: float,
    sessions: Sessions,
    limits: Limits,
    stop: StopRequest,
    give_up: GiveUp,
    renew: Renew = parts.heartbeat,
) -> Iterator[Beat]:
    """Inside the block a thread renews the lease; the block reports how many prompts are done.

    The lease started with a request that was sent at `since`, by the monotonic clock. A report
    raises `CancelSeen`, `LeaseLost`, `OutOfTime` or `Released` when the work should stop. If there
    is no report within the grace period, the thread calls `give_up` with that error and ends the
    process. `sessions` need connections that no other work can use up.
    """
    deadline = Deadline(limits.lease, since=since)
    beating = _Beating(
        claim,
        limits=limits,
        stop=stop,
        deadline=deadline,
        sessions=sessions,
        give_up=give_up,
        renew=renew,
    )
    thread = threading.Thread(target=beating.run, name=f"heartbeat-{claim[0]}", daemon=True)
    deadline.start()
    thread.start()
    try:
        yield beating.report
    finally:
        beating.ended.set()
        thread.join()
        deadline.cancel()


class _Beating:
    def __init__(
        self,
        claim: Claim,
        *,
        limits: Limits,
        stop: StopRequest,
        deadline: Deadline,
        sessions: Sessions,
        give_up: GiveUp,
        renew: Renew,
    ) -> None:
        self.claim, self.limits, self.stop, self.deadline = claim, limits, stop, deadline
        self.sessions = sessions
        self.give_up, self.renew = give_up, renew
        self.ended = threading.Event()
        self.done = 0
        self.reason: Exception | None = None
        self.begun = self.progressed = self.beaten = time.monotonic()
        self.stopped_at = 0.0  # when there was a reason to stop

    def run(self) -> None:
        while not self.ended.wait(min(_CHECK_EVERY, self.limits.heartbeat)):
            self._check_limits()
            now = time.monotonic()
            if self.reason is not None and now - self.stopped_at > self.limits.grace:
                self._end_process(self.reason)
            if now - self.beaten >= self.limits.heartbeat:
                self._beat()

    def report(self, done: int) -> None:
        self.done = done
        self.progressed = time.monotonic()
        if self.progressed - self.beaten >= min(_REPORT_EVERY, self.limits.heartbeat):
            self._beat()
        self._check_limits()
        if self.reason is not None:
            raise self.reason

    def _check_limits(self) -> None:
        """Check the time limits, and whether the worker has to stop."""
        now = time.monotonic()
        if now - self.begun > self.limits.part:
            self._stop(OutOfTime(f"timeout: a part may take {self.limits.part:g} s"))
        elif now - self.progressed > self.limits.stall:
            self._stop(OutOfTime(f"stalled: no progress for {self.limits.stall:g} s"))
        elif self.stop:
            self._stop(Released())

    def _stop(self, reason: Exception) -> None:
        if self.reason is None:
            self.stopped_at = time.monotonic()
            self.reason = reason

    def _end_process(self, reason: Exception) -> None:
        """The analysis does not report any more: only the end of its process stops it."""
        log.error(
            "the analysis did not stop in time; its process is ended",
            claim=self.claim._asdict(),
            reason=repr(reason),
        )
        try:
            self.give_up(reason)
        finally:
            os._exit(GONE)

    def _beat(self) -> None:
        sent = self.beaten = time.monotonic()
        try:
            with db.transaction(self.sessions) as session:
                lease, done = self.limits.lease, self.done
                cancelled = self.renew(session, self.claim, lease=lease, done=done)
            self.deadline.postpone(sent)
            if cancelled:
                self._stop(CancelSeen(self.claim))
        except LeaseLost as lost:
            self._stop(lost)
        except Exception:
            # The lease outlasts several missed heartbeats; otherwise the next write is refused.
            log.warning("heartbeat missed", claim=self.claim._asdict(), exc_info=True)
