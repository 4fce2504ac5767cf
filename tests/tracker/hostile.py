"""Messages that somebody who may write into the broker puts where rings hang."""

import json
import pickle
import zlib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from tracker.domain.wakeups import HELP_WITH_RUN

NOBODY = str(uuid4())  # a run that nobody queued
NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
FAR = "2999-01-01T00:00:00+00:00"
DEEP = b"[" * 30_000 + b"]" * 30_000


class Calls:
    """Unpickled, it writes a file: whoever finds that file has run what a message said."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def named(name: str, value: Any) -> dict[str, Any]:
    """A field of the envelope whose name has a hyphen."""
    return {name: value}


def message(
    body: Any = None,
    *,
    headers: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    without: tuple[str, ...] = (),
    **envelope: Any,
) -> bytes:
    """A ring for nobody as the dispatcher sends it, but for what is named."""
    body = [[NOBODY], {}, NOTHING] if body is None else body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    whole = {
        "body": b64encode(raw).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": HELP_WITH_RUN,
            "id": str(uuid4()),
            "argsrepr": f"['{NOBODY}']",
            **(headers or {}),
        },
        "properties": {
            "correlation_id": str(uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "headbook"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
            **(properties or {}),
        },
        **envelope,
    }
    for name in without:
        del whole[name]
    return json.dumps(whole).encode()


def with_its(**parts: Any) -> bytes:
    """The ring with whole parts of it replaced."""
    return json.dumps(json.loads(message()) | parts).encode()


def signature(task: str) -> dict[str, Any]:
    return {"task": task, "args": [], "kwargs": {}, "options": {}, "immutable": True}


def not_rings(tripwire: Path) -> dict[str, bytes]:
    """What is no ring, by what is wrong with it."""
    pickled = pickle.dumps(Calls(tripwire))
    then = signature("celery.backend_cleanup")
    return {
        "nothing": b"",
        "not UTF-8": b"\xff\xfe\x00",
        "half a message": message()[:200],
        "an envelope that is a string": b'"ring"',
        "an envelope that is a number": b"NaN",
        "an envelope that is a list": b"[1, 2]",
        "an envelope that is null": b"null",
        "a number of 5,000 digits": b"1" * 5_000,
        "an envelope of 30,000 levels": DEEP,
        "ten megabytes": message(b"x" * 10_000_000),
        "a pickle": pickled,
        "no properties": message(without=("properties",)),
        "properties that are text": with_its(properties="x"),
        "no headers": message(without=("headers",)),
        "headers that are a list": with_its(headers=[]),
        "a task that is a number": message(headers={"task": 7}),
        "a task that is a list": message(headers={"task": [HELP_WITH_RUN]}),
        "an unknown task": message(headers={"task": "os.system"}),
        "a task of Celery's": message(headers={"task": "celery.backend_cleanup"}),
        "a chord of Celery's": message(headers={"task": "celery.chord"}),
        "no body": message(without=("body",)),
        "a body that is a number": with_its(body=7),
        "a body not in base64": with_its(body="%%"),
        "an unknown encoding of the body": message(properties={"body_encoding": "rot13"}),
        "an encoding that is a list": message(properties={"body_encoding": ["base64"]}),
        "a JSON string": message("ring"),
        "a JSON number": message(7),
        "a JSON object, as protocol 1 has it": message(
            {"task": HELP_WITH_RUN, "id": "1", "args": [NOBODY], "kwargs": {}}
        ),
        "a body of 30,000 levels": message(DEEP[:40_000]),
        "a body that is cut off": message(b'[["'),
        "arguments that are text": message([NOBODY, {}, NOTHING]),
        "no argument": message([[], {}, NOTHING]),
        "two arguments": message([[NOBODY, NOBODY], {}, NOTHING]),
        "named arguments": message([[NOBODY], {"run_id": NOBODY}, NOTHING]),
        "an id that is a number": message([[7], {}, NOTHING]),
        "an id that is none": message([["../../etc/passwd"], {}, NOTHING]),
        "an id of 40,000 characters": message([["a" * 40_000], {}, NOTHING]),
        "an id in braces": message([[f"{{{NOBODY}}}"], {}, NOTHING]),
        "a task to call afterwards": message([[NOBODY], {}, NOTHING | {"callbacks": [then]}]),
        "a task to call at an error": message([[NOBODY], {}, NOTHING | {"errbacks": [then]}]),
        "a chain of tasks": message([[NOBODY], {}, NOTHING | {"chain": [then]}]),
        "a body in a pickle": message(
            pickled, **named("content-type", "application/x-python-serialize")
        ),
        "a bomb": message(zlib.compress(b"[" * 20_000_000), headers={"compression": "zlib"}),
    }


def odd_rings() -> dict[str, bytes]:
    """Rings for nobody, with more that must be ignored: a wrong type, or something to do."""
    return {
        "no delivery tag": message(properties={"delivery_tag": None}),
        "a delivery tag that is an object": message(properties={"delivery_tag": {}}),
        "delivery information that is text": message(properties={"delivery_info": "x"}),
        "an unknown type of content": message(**named("content-type", "application/x-yaml")),
        "a type of content that is a list": message(**named("content-type", [1])),
        "an unknown encoding": message(**named("content-encoding", "rot13")),
        "a compression that is a number": message(headers={"compression": 7}),
        "an id of the task that is a list": message(headers={"id": [1]}),
        "retries that are text": message(headers={"retries": "many"}),
        "a time to begin that is none": message(headers={"eta": "soon"}),
        "a time to begin in 900 years": message(headers={"eta": FAR}),
        "a time to expire that is a list": message(headers={"expires": [FAR]}),
        "limits of time that are text": message(headers={"timelimit": ["a", "b"]}),
        "a limit of a millisecond": message(headers={"timelimit": [0.001, 0.001]}),
        "a group": message(headers={"group": "g", "group_index": "x"}),
        "an address to reply to": message(
            headers={"ignore_result": False}, properties={"reply_to": "somewhere"}
        ),
        "stamps that are text": message(headers={"stamps": "x", "stamped_headers": 7}),
        "a priority that is text": message(properties={"priority": "urgent"}),
        "a hundred rings' worth of words": message(headers={"argsrepr": "word " * 2_000}),
    }
