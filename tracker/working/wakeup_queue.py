"""A worker's side of the broker: it hears rings, and drops whatever else is there.

Messages are taken as they are and forgotten by the broker at once. Neither kombu nor Celery sees
what is in them; a ring that is lost is rung again, or its run is found without one.
"""

import time
from typing import Any

from celery import Celery
from structlog import get_logger

from tracker.domain import wakeups
from tracker.domain.wakeups import MOST_BYTES, NoRing, Ring
from tracker.queueing.broker import QUEUE
from tracker.secrets.urls import first_line

log = get_logger(__name__)

_PAUSE = 5.0  # seconds before a broker is asked again that did not do what it was asked
_TELL_EVERY = 10.0  # seconds between two lines about what was dropped
_DRAIN = 1.0  # seconds for what is no ring, however much of it there is
_BEGINNING = 60  # bytes of a dropped message that are shown

# Of a message that is too long, only its length comes over the line.
_TAKE = """
local found = redis.call('RPOP', KEYS[1])
if found and #found > tonumber(ARGV[1]) then return #found end
return found
"""


class Doorbell:
    """The queue of rings. A broker that fails is left alone for some seconds."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self._again_at = 0.0  # monotonic
        self._tell_at = 0.0
        self._dropped = 0

    def next(self) -> Ring | None:
        """The next ring, None while there is none: never an error, whatever is in the queue."""
        end = time.monotonic() + _DRAIN
        while self._again_at <= time.monotonic() < end:
            found: Any = b""
            try:
                taken = self._take()
                if taken is None:
                    return None
                headers, found = taken
                return wakeups.in_envelope(found) if headers is None else wakeups.of(headers, found)
            except NoRing as reason:
                self._drop(reason, found)
            except Exception as error:  # the transports' errors are many
                self._fail(error)
        return None

    def _take(self) -> tuple[dict[str, Any] | None, Any] | None:
        """A message's headers, None where they are inside, and what it holds; taken for good."""
        if self._channel is None:
            self._connect()
        if hasattr(self._channel, "conn_or_acquire"):  # kombu's Redis
            with self._channel.conn_or_acquire() as client:
                key = f"{self._channel.global_keyprefix}{QUEUE}"
                found = client.eval(_TAKE, 1, key, MOST_BYTES)
            if isinstance(found, int):
                raise wakeups.too_long(found)
            return None if found is None else (None, found)
        message = self._channel.basic_get(QUEUE, no_ack=True)
        return None if message is None else (dict(message.headers or {}), message.body)

    def _connect(self) -> None:
        self._connection = self._app.connection_for_read()
        self._connection.connect()  # once: asking for a channel alone would try for ever
        self._channel = self._connection.channel()
        if not hasattr(self._channel, "conn_or_acquire"):
            self._app.amqp.queues[QUEUE].bind(self._channel).declare()

    def _fail(self, error: Exception) -> None:
        log.warning("no rings are heard, Postgres is looked at", error=first_line(error))
        self._again_at = time.monotonic() + _PAUSE
        self.close()

    def _drop(self, reason: NoRing, found: bytes | str) -> None:
        self._dropped += 1
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + _TELL_EVERY
        said = ascii(found[:_BEGINNING]) if found else None
        log.warning("not a ring, dropped", reason=str(reason), begins=said, dropped=self._dropped)
        self._dropped = 0

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                connection.collect(socket_timeout=1)
            except Exception as error:
                log.debug("the broker's connection was not closed", error=first_line(error))
