"""A worker's side of the broker: it reads wake-ups, and drops all other messages.

Messages are taken raw and deleted from the broker at once; neither kombu nor Celery decodes them.
A wake-up that is lost is sent again, or its work is found without one.
"""

import time
from typing import Any

from celery import Celery
from structlog import get_logger

from tracker.domain import wakeups
from tracker.domain.wakeups import MOST_BYTES, NotAWakeup, Wakeup
from tracker.queueing.broker import QUEUE
from tracker.secrets.urls import first_line

log = get_logger(__name__)

_PAUSE = 5.0  # seconds until the next request to a broker that has failed
_LOG_EVERY = 10.0  # seconds between two log lines about dropped messages
_DRAIN = 1.0  # seconds for dropping messages, however many there are
_SHOWN = 60  # bytes of a dropped message in the log

# Of a message that is too long, only the length is transferred.
_TAKE = """
local message = redis.call('RPOP', KEYS[1])
if message and #message > tonumber(ARGV[1]) then return #message end
return message
"""


class WakeupQueue:
    """The queue of wake-ups. After a failure the broker is not asked for some seconds."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self._again_at = 0.0  # monotonic
        self._log_at = 0.0
        self._dropped = 0

    def next(self) -> Wakeup | None:
        """The next wake-up, None if there is none; never raises, whatever is in the queue."""
        end = time.monotonic() + _DRAIN
        while self._again_at <= time.monotonic() < end:
            body: Any = b""
            try:
                taken = self._take()
                if taken is None:
                    return None
                headers, body = taken
                return wakeups.in_envelope(body) if headers is None else wakeups.of(headers, body)
            except NotAWakeup as reason:
                self._drop(reason, body)
            except Exception as error:  # the transports' errors are many
                self._fail(error)
        return None

    def _take(self) -> tuple[dict[str, Any] | None, Any] | None:
        """Delete a message; its headers, None if its body contains them, and its body."""
        if self._channel is None:
            self._connect()
        if hasattr(self._channel, "conn_or_acquire"):  # kombu's Redis
            with self._channel.conn_or_acquire() as client:
                key = f"{self._channel.global_keyprefix}{QUEUE}"
                taken = client.eval(_TAKE, 1, key, MOST_BYTES)
            if isinstance(taken, int):
                raise wakeups.too_long(taken)
            return None if taken is None else (None, taken)
        message = self._channel.basic_get(QUEUE, no_ack=True)
        return None if message is None else (dict(message.headers or {}), message.body)

    def _connect(self) -> None:
        self._connection = self._app.connection_for_read()
        self._connection.connect()  # once: asking for a channel would retry for ever
        self._channel = self._connection.channel()
        if not hasattr(self._channel, "conn_or_acquire"):
            self._app.amqp.queues[QUEUE].bind(self._channel).declare()

    def _fail(self, error: Exception) -> None:
        log.warning(
            "the broker cannot be read; Postgres is polled instead", error=first_line(error)
        )
        self._again_at = time.monotonic() + _PAUSE
        self.close()

    def _drop(self, reason: NotAWakeup, body: bytes | str) -> None:
        self._dropped += 1
        if time.monotonic() < self._log_at:
            return
        self._log_at = time.monotonic() + _LOG_EVERY
        begins = ascii(body[:_SHOWN]) if body else None
        log.warning(
            "a message that is not a wake-up was dropped",
            reason=str(reason),
            begins=begins,
            dropped=self._dropped,
        )
        self._dropped = 0

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                connection.collect(socket_timeout=1)
            except Exception as error:
                log.debug("the broker's connection was not closed", error=first_line(error))
