"""How the fields of a request are spelled as options of `headbook submit`."""

import json
from collections.abc import Mapping
from typing import Any

MOST_SHOWN = 100  # characters of a value in the name of a cell
_OWN = {  # fields of the recipe that are not called as their option
    "name": "--distribution",
    "size": "--prompts",
    "seed": "--prompt-seed",
    "choices_columns": "--choices-column",
}


def of_recipe(field: str) -> str:
    """The option of a field of the recipe."""
    return _OWN.get(field) or "--" + field.replace("_", "-")


def written(value: Any) -> str:
    """The value of a parameter, as it is read again: JSON, or a text that is no JSON itself."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return value
    return json.dumps(value, ensure_ascii=False)


def cell(varied: Mapping[tuple[str, ...], Any]) -> str:
    """What tells a request from others of its grid, as it is written in a shell."""
    return " ".join(_told(path, value) for path, value in varied.items())


def _told(path: tuple[str, ...], value: Any) -> str:
    match path:
        case ("parameters", name):
            return f"-p {name}={_short(written(value))}"
        case ("recipe", field):
            return f"{of_recipe(field)}={_short(_plain(value))}"
        case ("analysis",):
            return _short(_plain(value))
    return f"--{path[0]}={_short(_plain(value))}"


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
