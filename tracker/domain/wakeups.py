"""A wake-up message: what a worker is asked to do, and for which run.

Everybody who can write to the broker decides what its messages contain, so nothing in them is
unpickled, imported or called: a task's name and a run's id are read, everything else is ignored.
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

MOST_BYTES = 64 * 1024  # a wake-up has fewer than 2,000
_ID = 36  # characters


@dataclass(frozen=True)
class Wakeup:
    """A hint that a run has work for a worker; Postgres decides."""

    task: str
    run_id: UUID


class NotAWakeup(Exception):
    """Why a message is not a wake-up."""


def in_envelope(message: bytes) -> Wakeup:
    """The wake-up in an element of a Redis list, as kombu writes it; raises `NotAWakeup`."""
    envelope = _json(message, "the message")
    match envelope:
        case {"body": str(body), "headers": dict(headers), "properties": dict(properties)}:
            if properties.get("body_encoding") != "base64":
                raise NotAWakeup("its body is not in base64")
            return of(headers, _decoded(body))
    raise NotAWakeup("it is not the message of a task")


def of(headers: Mapping[str, Any], body: bytes | str) -> Wakeup:
    """The wake-up in the headers and the body of a task's message; raises `NotAWakeup`."""
    task = headers.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise NotAWakeup("it names no task of our workers")
    if len(body) > MOST_BYTES:
        raise too_long(len(body))
    match _json(body, "its body"):
        case [[str(run_id)], {**named}, {**more}] if not named and not any(more.values()):
            return Wakeup(task, _uuid(run_id))
    raise NotAWakeup("its body is not the id of a run")


def too_long(size: int) -> NotAWakeup:
    return NotAWakeup(f"it has {size:,} bytes, and a wake-up at most {MOST_BYTES:,}")


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
        found = UUID(text[:_ID])
    except ValueError:
        found = None
    if found is None or str(found) != text:
        raise NotAWakeup("what it names is not the id of a run")
    return found
