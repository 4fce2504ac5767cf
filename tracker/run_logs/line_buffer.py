"""A bounded buffer of a part's log lines, which never blocks."""

import re
import threading
import time
from collections import deque
from uuid import UUID

from tracker.domain import LogLevel, SaidLine
from tracker.secrets.urls import without_credentials

MOST_LINES = 5_000  # lines kept per claim, apart from our own events
MOST_OWN = 1_000  # lines of our own events and their tracebacks
LONGEST = 4_000  # characters per line
HELD = 1_000_000  # characters buffered while the database is unreachable

_READ = 2 * LONGEST  # so that a password is redacted before the line is cut
_URGENT = (LogLevel.ERROR, LogLevel.CRITICAL)
# Terminal escape sequences, other control characters, and surrogates, which UTF-8 cannot encode.
_UNPRINTABLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


class LineBuffer:
    """The output about one claimed part, from any thread, until a writer takes it.

    Never blocks or fails: beyond `HELD` the oldest lines are dropped and counted; beyond
    `MOST_LINES` only one more is kept, which says where to find the rest.
    """

    def __init__(self, run_id: UUID, *, worker: str) -> None:
        self.run_id, self._worker = str(run_id), worker
        self._lines: deque[SaidLine] = deque()
        self._characters = 0
        self._dropped = 0
        self._heard = {True: 0, False: 0}  # number of lines, by whether they are our own
        # Reentrant: garbage collection may emit a warning while a line is added.
        self._lock = threading.RLock()
        self.wanted = threading.Event()  # write now: the process may end soon

    def hear(self, level: LogLevel, text: str, *, own: bool = False) -> None:
        """Add a text as redacted lines; `own` marks events of the tracker."""
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
        """Remove and return the buffered lines, the first of which counts the dropped ones."""
        with self._lock:
            taken, dropped = list(self._lines), self._dropped
            self._lines.clear()
            self._characters = self._dropped = 0
        if dropped:
            said = (
                f"{dropped} earlier lines were dropped: the database was unreachable for too long"
            )
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
        said = f"more than {most} lines: see the log of worker {self._worker} for the rest"
        return SaidLine(now, LogLevel.WARNING, said)


def clean(line: str) -> str:
    """The line as stored: redacted, without control characters, cut to length."""
    shown = _UNPRINTABLE.sub("", without_credentials(line[:_READ])).rstrip()
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
