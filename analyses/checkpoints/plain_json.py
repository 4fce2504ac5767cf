"""JSON objects in a model's folder, limited in size and nesting depth."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analyses import bounds
from analyses.errors import Refused
from analyses.regular_files import content


class BrokenJson(Refused):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}. Save the model again.")


def read(path: Path, *, most: int) -> dict[str, Any]:
    """The JSON object in a file of at most `most` bytes.

    Raises `BrokenJson`, `TooMuch` or `NotRegular`.
    """
    return parsed(path, content(path, most=most))


def parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"))
    except RecursionError:
        raise bounds.TooMuch(
            path, "its nesting depth", "too large to count", bounds.JSON_DEPTH
        ) from None
    except ValueError as error:
        raise BrokenJson(path, f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BrokenJson(path, "it is not a JSON object")
    bounds.check(path, "its nesting depth", _depth(value), bounds.JSON_DEPTH)
    return value


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= bounds.JSON_DEPTH:
        depth += 1
        level = [inner for outer in level for inner in _inside(outer)]
    return depth


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
