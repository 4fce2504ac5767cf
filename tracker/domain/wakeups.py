"""Parses wake-up messages: the name of a task and the id of a run.

Messages are untrusted, because anyone who can write to the broker can send them. Nothing in them
is unpickled, imported or called; everything but the task name and the run id is ignored.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

HELP_WITH_RUN = "headbook.help_with_run"
PUBLISH_RUN = "headbook.publish_run"
TASKS = (HELP_WITH_RUN, PUBLISH_RUN)

MOST_BYTES = 64 * 1024  # a real wake-up has fewer than 2,000
_ID = 36  # characters of a UUID


@dataclass(frozen=True)
class Wakeup:
    """A hint that a run has work for a worker; Postgres decides."""

    task: str
    run_id: UUID


class NotAWakeup(Exception):
    """A message is not a wake-up; the text says why."""


def in_envelope(message: bytes) -> Wakeup:
    """The wake-up in an element of a Redis list, as kombu writes it. Raises `NotAWakeup`."""
    envelope = _json(message, "the message")
    match envelope:
        case {"body": str(body), "headers": dict(headers), "properties": dict(properties)}:
            if properties.get("body_encoding") != "base64":
                raise NotAWakeup("its body is not in base64")
            return of(headers, _decoded(body))
    raise NotAWakeup("it is not a task message")


def of(headers: Mapping[str, Any], body: bytes | str) -> Wakeup:
    """The wake-up in the headers and the body of a task message. Raises `NotAWakeup`."""
    task = headers.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise NotAWakeup("it does not name a task of our workers")
    if len(body) > MOST_BYTES:
        raise too_long(len(body))
    match _json(body, "its body"):
        case [[str(run_id)], {**named}, {**more}] if not named and not any(more.values()):
            return Wakeup(task, _uuid(run_id))
    raise NotAWakeup("its body is not the id of a run")


def too_long(size: int) -> NotAWakeup:
    return NotAWakeup(f"it has {size:,} bytes; the limit is {MOST_BYTES:,}")


def _decoded(body: str) -> bytes:
    try:
        return b64decode(body, validate=True)
    except ValueError:
        raise NotAWakeup("its body is not in base64") from None


def _json(text: bytes | str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotAWakeup(f"{what} is not JSON") from None


def _uuid(text: str) -> UUID:
    try:
        run_id = UUID(text[:_ID])
    except ValueError:
        run_id = None
    if run_id is None or str(run_id) != text:
        raise NotAWakeup("its argument is not the id of a run")
    return run_id
