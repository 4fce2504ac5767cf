"""Writes the output of a part to the database, for `headbook runs logs`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from structlog import get_logger

from analyses.plugins.discovery import packages
from tracker.database import db
from tracker.database.db import Sessions
from tracker.domain import PartClaim, SaidLine
from tracker.run_logs import current_run
from tracker.run_logs.line_buffer import LineBuffer
from tracker.secrets.urls import first_line
from tracker.store import log_lines
from tracker.store.log_lines import Kept

log = get_logger(__name__)

_EVERY = 1.0  # seconds between two writes
_LAST_WRITE = 2.0  # seconds to wait for it at the end of a part


@contextmanager
def kept(claim: PartClaim, *, sessions: Sessions, worker: str) -> Iterator[None]:
    """Inside the block, output becomes lines of the run's log.

    A thread writes them over `sessions` about once a second, immediately after an error of our
    own, and at the end. The block never waits for it; after the block the thread keeps trying for
    a while. A killed worker therefore loses the output of its last second, and whatever an
    unreachable database has not received yet.
    """
    buffer = LineBuffer(claim.run_id, worker=worker)
    writing = _Writing(claim, buffer, sessions=sessions, worker=worker)
    thread = threading.Thread(target=writing.run, name=f"log-{claim.run_id}", daemon=True)
    thread.start()
    try:
        with current_run.heard_by(buffer, packages=packages()):
            yield
    finally:
        writing.end()
        thread.join(_LAST_WRITE)


class _Writing:
    def __init__(
        self, claim: PartClaim, buffer: LineBuffer, *, sessions: Sessions, worker: str
    ) -> None:
        self.claim, self.buffer, self.worker = claim, buffer, worker
        self.sessions = sessions
        self.ended = False
        self.taken: list[SaidLine] = []
        self.kept = Kept()
        self.in_doubt = False  # whether the last commit may have succeeded all the same

    def run(self) -> None:
        while not self.ended:
            self.buffer.wanted.wait(_EVERY)
            self.buffer.wanted.clear()
            if self._waiting():
                self._write()
        self._write_the_rest()

    def end(self) -> None:
        self.ended = True
        self.buffer.wanted.set()

    def _write_the_rest(self) -> None:
        deadline = time.monotonic() + db.PATIENCE
        while self._waiting():
            if self._write():
                continue
            if time.monotonic() > deadline:
                self._warn("lines of the run's log were lost", lines=len(self.taken))
                return
            time.sleep(_EVERY)

    def _waiting(self) -> bool:
        self.taken = self.taken or self.buffer.take()
        return bool(self.taken)

    def _write(self) -> bool:
        """Whether the lines are in the database."""
        try:
            with db.transaction(self.sessions) as session:
                kept = log_lines.insert_lines(
                    session,
                    self.claim,
                    self.taken,
                    worker=self.worker,
                    kept=self.kept,
                    in_doubt=self.in_doubt,
                )
        except Exception as error:
            if not self.in_doubt:
                self._warn("cannot write the run's log, will retry", error=first_line(error))
            self.in_doubt = True
            return False
        self.kept, self.taken, self.in_doubt = kept, [], False
        return True

    def _warn(self, event: str, **more: object) -> None:
        log.warning(event, run_id=str(self.claim.run_id), part=self.claim.number, **more)
