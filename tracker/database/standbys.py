"""Drops pooled connections that a failover has left on a read-only server."""

import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError

from tracker.database.sqlstates import Meaning, meaning

_SETTLED = 5.0  # age in seconds from which a connection to a read-only server is dropped
_REPORTED = ("default_transaction_read_only", "in_hot_standby")  # by servers since Postgres 14


def leave(engine: Engine) -> None:
    """Keep the engine's pool free of connections to a standby.

    Such a connection may read stale data, and cannot write.
    """
    event.listen(engine, "connect", _record_time)
    event.listen(engine, "checkout", _reconnect_if_read_only)
    event.listen(engine, "handle_error", _invalidate_pool)


def _record_time(_connection: object, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _reconnect_if_read_only(connection: Any, record: Any, _proxy: object) -> None:
    """New connections are used even if read-only: there may be no other server."""
    read_only = any(connection.info.parameter_status(name) == "on" for name in _REPORTED)
    if read_only and time.monotonic() - record.info["since"] > _SETTLED:
        raise DisconnectionError("this server is read-only")


def _invalidate_pool(context: ExceptionContext) -> None:
    """If a write was refused as read-only, all pooled connections lead to the same server."""
    state = getattr(context.original_exception, "sqlstate", None)
    if meaning(state) is Meaning.READ_ONLY:
        context.is_disconnect = True
