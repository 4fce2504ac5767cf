"""Finds the SQLSTATE with which a Postgres server rejects a connection.

For a failed login libpq reports only a sentence, in the server's language. The SQLSTATE is in the
protocol messages, which libpq can trace.
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

_TIMEOUT = 3.0  # seconds
_CACHED_FOR = 5.0  # seconds
_NOT_CONNECTED = (ConnStatus.BAD, ConnStatus.STARTED)
_ERROR = re.compile(rb'\tErrorResponse\t.*? C "([0-9A-Z]{5})"')
_TLS = re.compile(rb"\tSSLResponse\t ?[NS]")
_STARTUP = re.compile(rb"\tStartupMessage\t")


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """The server's answer to a connection attempt; unset if it accepted or did not answer."""

    sqlstate: str | None = None  # of the rejection
    without_tls: bool = False  # the TLS handshake failed, so the login was never sent


def greeting(conninfo: str) -> Greeting:
    """Connect once more, and read the server's answer."""
    return _greeting(conninfo, int(time.monotonic() / _CACHED_FOR))


@lru_cache(maxsize=8)  # libpq never frees the stream of a trace, so do not trace every failure
def _greeting(conninfo: str, _moment: int) -> Greeting:
    with tempfile.TemporaryFile() as trace:
        stream = os.dup(trace.fileno())
        try:
            _connect(PGconn.connect_start(conninfo.encode()), stream)
        except psycopg.Error:  # libpq cannot trace on this system
            return Greeting()
        finally:
            os.close(stream)
        trace.seek(0)
        messages = trace.read()
    codes = _ERROR.findall(messages)
    if codes:
        return Greeting(sqlstate=codes[-1].decode())
    return Greeting(without_tls=bool(_TLS.search(messages)) and not _STARTUP.search(messages))


def _connect(connection: abc.PGconn, stream: int) -> None:
    """Poll the connection until it is established, has failed or has timed out."""
    end = time.monotonic() + _TIMEOUT
    traced = False
    try:
        while True:
            if not traced and connection.status not in _NOT_CONNECTED:
                traced = True
                connection.trace(stream)
            wanted = connection.connect_poll()
            if wanted not in (PollingStatus.READING, PollingStatus.WRITING):
                return
            socket = [connection.socket]
            reads, writes = (socket, []) if wanted == PollingStatus.READING else ([], socket)
            if not any(select.select(reads, writes, [], max(0.0, end - time.monotonic()))):
                return
    finally:
        if traced:
            connection.untrace()
        connection.finish()
