"""Connections that a failover has left on a server which may only be read are given up."""

import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError

from tracker.database.sqlstates import Meaning, meaning

_SETTLED = 5.0  # seconds after which a session is given up whose server may only be read
_REPORTED = ("default_transaction_read_only", "in_hot_standby")  # with any answer, since 14


def leave(engine: Engine) -> None:
    """Let the engine's pool keep no connection that leads to a standby.

    It would see nothing new, and nothing of what is written could be put there.
    """
    event.listen(engine, "connect", _note_the_time)
    event.listen(engine, "checkout", _connect_again)
    event.listen(engine, "handle_error", _throw_all_away)


def _note_the_time(_connection: object, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _connect_again(connection: Any, record: Any, _proxy: object) -> None:
    """A young connection may read all the same: there may be no other server."""
    behind = any(connection.info.parameter_status(name) == "on" for name in _REPORTED)
    if behind and time.monotonic() - record.info["since"] > _SETTLED:
        raise DisconnectionError("this server may only be read")


def _throw_all_away(context: ExceptionContext) -> None:
    """Where a write was refused, those that are open lead to the same server."""
    state = getattr(context.original_exception, "sqlstate", None)
    if meaning(state) is Meaning.READ_ONLY:
        context.is_disconnect = True
