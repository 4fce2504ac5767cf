"""Lines of a part's log until they are written: clean, few, and never waited for."""

import re
import threading
import time
from collections import deque
from uuid import UUID

from tracker.domain import LogLevel, SaidLine
from tracker.secrets.urls import without_credentials

MOST_LINES = 5_000  # of one claim that are kept, apart from our own events
MOST_OWN = 1_000  # of our own events and their tracebacks
LONGEST = 4_000  # characters of a line
HELD = 1_000_000  # characters that wait while the database is away

_READ = 2 * LONGEST  # so that a password is found before the line is cut
_URGENT = (LogLevel.ERROR, LogLevel.CRITICAL)
# Escape sequences of terminals, other control characters, and what no text in UTF-8 may hold.
_UNPRINTABLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


class LineBuffer:
    """What is said about one claimed part, from any thread, until a writer takes it.

    Nothing here waits or fails: beyond `HELD` the oldest lines are dropped and counted, beyond
    `MOST_LINES` only one more is kept, which says where the rest is.
    """

    def __init__(self, run_id: UUID, *, worker: str) -> None:
        self.run_id, self._worker = str(run_id), worker
        self._lines: deque[SaidLine] = deque()
        self._characters = 0
        self._dropped = 0
        self._heard = {True: 0, False: 0}  # by whether they are our own
        # A warning may be said while a line is taken in, by what is collected as garbage.
        self._lock = threading.RLock()
        self.wanted = threading.Event()  # a writer should come now: the process may end soon

    def hear(self, level: LogLevel, text: str, *, own: bool = False) -> None:
        """Keep a text as lines that may be shown to anybody; `own` are events of the tracker."""
        most = MOST_OWN if own else MOST_LINES
        if self._heard[own] > most:
            return
        now = time.monotonic()
        for line in text.split("\n"):
            if cleaned := clean(line):
                with self._lock:
                    self._heard[own] += 1
                    if self._heard[own] <= most:
                        self._keep(SaidLine(now, level, cleaned))
                    elif self._heard[own] == most + 1:
                        self._keep(self._the_rest(now, most))
        if own and level in _URGENT:
            self.wanted.set()

    def take(self) -> list[SaidLine]:
        """All that waits, the caller's from now on; it begins with how many were dropped."""
        with self._lock:
            taken, dropped = list(self._lines), self._dropped
            self._lines.clear()
            self._characters = self._dropped = 0
        if dropped:
            said = f"{dropped} earlier lines were dropped: they could not be written in time"
            at = taken[0].at if taken else time.monotonic()
            taken.insert(0, SaidLine(at, LogLevel.WARNING, said))
        return taken

    def _keep(self, line: SaidLine) -> None:
        self._lines.append(line)
        self._characters += len(line.line)
        while self._characters > HELD:
            self._characters -= len(self._lines.popleft().line)
            self._dropped += 1

    def _the_rest(self, now: float, most: int) -> SaidLine:
        said = f"more than {most} lines: the rest is only in the own log of worker {self._worker}"
        return SaidLine(now, LogLevel.WARNING, said)


def clean(line: str) -> str:
    """The line as it is kept: no credentials in URLs, nothing that steers a terminal, not long."""
    shown = _UNPRINTABLE.sub("", without_credentials(line[:_READ])).rstrip()
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
