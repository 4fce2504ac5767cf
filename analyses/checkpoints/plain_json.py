"""JSON objects of a model's folder, within bounds of bytes and depth."""

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
    """Raises `BrokenJson`, `TooMuch` and `NotRegular`."""
    return parsed(path, content(path, most=most))


def parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"))
    except RecursionError:
        raise bounds.TooMuch(path, "its depth", "beyond counting", bounds.JSON_DEPTH) from None
    except ValueError as error:
        raise BrokenJson(path, f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BrokenJson(path, "it is not a JSON object")
    bounds.check(path, "its depth", _depth(value), bounds.JSON_DEPTH)
    return value


def _depth(value: object) -> int:
    depth, here = 0, [value]
    while here and depth <= bounds.JSON_DEPTH:
        depth += 1
        here = [inner for each in here for inner in _inside(each)]
    return depth


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
