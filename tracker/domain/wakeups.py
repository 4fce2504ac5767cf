"""A ring: what a worker is asked to do, and for which run, told from all else a broker may hold.

Whoever can write into the broker decides what a message holds, so nothing of it is unpacked,
imported or called: two names and the id of a run are read, and the rest is left where it is.
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

MOST_BYTES = 64 * 1024  # a ring has less than 2,000
_ID = 36  # characters


@dataclass(frozen=True)
class Ring:
    task: str
    run_id: UUID


class NoRing(Exception):
    """Why a message is none."""


def in_envelope(found: bytes) -> Ring:
    """The ring in an element of a list in Redis, as kombu writes it; raises `NoRing`."""
    envelope = _json(found, "the message")
    match envelope:
        case {"body": str(body), "headers": dict(headers), "properties": dict(properties)}:
            if properties.get("body_encoding") != "base64":
                raise NoRing("its body is not in base64")
            return of(headers, _decoded(body))
    raise NoRing("it is no message of a task")


def of(headers: Mapping[str, Any], body: bytes | str) -> Ring:
    """The ring that a task's headers and body are; raises `NoRing`."""
    task = headers.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise NoRing("it names no task of a worker")
    if len(body) > MOST_BYTES:
        raise too_long(len(body))
    match _json(body, "its body"):
        case [[str(run_id)], {**named}, {**more}] if not named and not any(more.values()):
            return Ring(task, _uuid(run_id))
    raise NoRing("its body holds something else than the id of a run")


def too_long(size: int) -> NoRing:
    return NoRing(f"it has {size:,} bytes, and a ring {MOST_BYTES:,} at the most")


def _decoded(body: str) -> bytes:
    try:
        return b64decode(body, validate=True)
    except ValueError:
        raise NoRing("its body is not in base64") from None


def _json(text: bytes | str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NoRing(f"{what} is no JSON") from None


def _uuid(text: str) -> UUID:
    try:
        found = UUID(text[:_ID])
    except ValueError:
        found = None
    if found is None or str(found) != text:
        raise NoRing("what it names is no id of a run")
    return found
