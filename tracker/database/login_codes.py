"""What a Postgres server says to who wants to connect, as a code.

libpq leaves only a sentence of a login that failed, in the language of the server. The code stands
in the messages themselves, which libpq writes down where it is asked to.
"""

import os
import re
import select
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache

import psycopg
from psycopg.pq import ConnStatus, PGconn, PollingStatus, abc

_SECONDS = 3.0  # in which the server answers, or does not
_KEPT = 5.0  # seconds for which an answer is good
_NOBODY = (ConnStatus.BAD, ConnStatus.STARTED)  # has taken the connection yet
_ERROR = re.compile(rb'\tErrorResponse\t.*? C "([0-9A-Z]{5})"')
_TLS = re.compile(rb"\tSSLResponse\t ?[NS]")
_STARTUP = re.compile(rb"\tStartupMessage\t")


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """How an attempt to connect went; nothing is set where there was no answer, or a welcome."""

    sqlstate: str | None = None  # of the refusal
    without_tls: bool = False  # no encrypted connection came about; nothing was asked over it


def greeting(conninfo: str) -> Greeting:
    """Connect once more, and read what the server answers."""
    return _greeting(conninfo, int(time.monotonic() / _KEPT))


@lru_cache(maxsize=8)  # libpq's stream of messages is never freed, so that not every failure asks
def _greeting(conninfo: str, _moment: int) -> Greeting:
    with tempfile.TemporaryFile() as written:
        stream = os.dup(written.fileno())
        try:
            _connect(PGconn.connect_start(conninfo.encode()), stream)
        except psycopg.Error:  # on this system libpq writes no messages down
            return Greeting()
        finally:
            os.close(stream)
        written.seek(0)
        said = written.read()
    codes = _ERROR.findall(said)
    if codes:
        return Greeting(sqlstate=codes[-1].decode())
    return Greeting(without_tls=bool(_TLS.search(said)) and not _STARTUP.search(said))


def _connect(connection: abc.PGconn, stream: int) -> None:
    """Go through the connection's states, until it stands or has failed or time is up."""
    end = time.monotonic() + _SECONDS
    traced = False
    try:
        while True:
            if not traced and connection.status not in _NOBODY:
                traced = True
                connection.trace(stream)
            wanted = connection.connect_poll()
            if wanted not in (PollingStatus.READING, PollingStatus.WRITING):
                return
            here = [connection.socket]
            reads, writes = (here, []) if wanted == PollingStatus.READING else ([], here)
            if not any(select.select(reads, writes, [], max(0.0, end - time.monotonic()))):
                return
    finally:
        if traced:
            connection.untrace()
        connection.finish()
