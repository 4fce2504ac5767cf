"""Reads the data files of the shipped tasks."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def read(name: str) -> Any:
    """The content of a task's file. Shared: do not modify it."""
    return json.loads(files("analyses").joinpath("data", "tasks", f"{name}.json").read_bytes())
