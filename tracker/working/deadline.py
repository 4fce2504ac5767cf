"""Ends a process that could not renew its lease: another worker may hold its part by now."""

import os
import threading
import time

from structlog import get_logger

log = get_logger(__name__)

GONE = 75  # exit code of a process that ended itself; EX_TEMPFAIL
SHARE = 5 / 6  # of a lease


class Deadline:
    """Ends the process unless it is postponed in time, whatever other threads are waiting for.

    It depends on nothing but the monotonic clock, so that a frozen database or a network that drops
    packets cannot delay it. A process that was frozen itself ends as soon as it is resumed.
    """

    def __init__(self, lease: float, *, since: float) -> None:
        """`since`: when the request that started the lease was sent, by the monotonic clock."""
        self._seconds = SHARE * lease
        self._since = since
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def postpone(self, since: float) -> None:
        """The lease was renewed by a request that was sent then."""
        self._since = since

    def cancel(self) -> None:
        self._cancelled.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._cancelled.wait(max(0.0, self._left())):
            if self._left() <= 0:
                log.error("the lease could not be renewed; the process ends", limit=self._seconds)
                os._exit(GONE)

    def _left(self) -> float:
        return self._since + self._seconds - time.monotonic()
