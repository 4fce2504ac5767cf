"""Ends a process that could not renew its lease: by now another worker may hold its part."""

import os
import threading
import time

from structlog import get_logger

log = get_logger(__name__)

GONE = 75  # exit code of a process that ended itself; EX_TEMPFAIL
SHARE = 5 / 6  # of a lease


class Deadline:
    """Unless it is put off in time, the process ends, whatever its other threads wait for.

    It waits for nothing but its own monotonic clock: no database that is frozen, no network that
    swallows what is sent, can keep it. A process that was itself frozen ends as soon as it thaws.
    """

    def __init__(self, lease: float, *, since: float) -> None:
        """`since`: when the request that began the lease was sent, on the monotonic clock."""
        self._seconds = SHARE * lease
        self._since = since
        self._lifted = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put_off(self, since: float) -> None:
        """The lease was renewed by a request that was sent then."""
        self._since = since

    def lift(self) -> None:
        self._lifted.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._lifted.wait(max(0.0, self._left())):
            if self._left() <= 0:
                log.error("the lease could not be renewed; the process ends", limit=self._seconds)
                os._exit(GONE)

    def _left(self) -> float:
        return self._since + self._seconds - time.monotonic()
