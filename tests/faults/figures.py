"""What tests of faults have measured, on disk: a line each, with the commit at which it was."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Figure = Mapping[str, Any]
_FILE, _NEMESIS = "figures.jsonl", "nemesis.json"


def add(folder: Path, figure: Figure) -> None:
    """Write a figure down behind the others; its `row` and `fault` say of what it is."""
    with (folder / _FILE).open("a") as file:
        file.write(json.dumps({**figure, "commit": commit()}) + "\n")


def keep_nemesis(folder: Path, found: Figure) -> None:
    """Write down what all faults together have shown, in place of what was there."""
    (folder / _NEMESIS).write_text(json.dumps({**found, "commit": commit()}, indent=1))


def read(folder: Path) -> tuple[Sequence[Figure], Figure | None]:
    """The figures, of each fault those that were measured last, and what the nemesis has found.

    Raises FileNotFoundError where nothing was measured.
    """
    if not (folder / _FILE).is_file():
        raise FileNotFoundError(f"no {_FILE} in {folder}: run `make faults` or `make attacks`")
    lines = (folder / _FILE).read_text().splitlines()
    figures = {(each["row"], each["fault"]): each for each in map(json.loads, lines)}
    nemesis = folder / _NEMESIS
    return list(figures.values()), json.loads(nemesis.read_text()) if nemesis.is_file() else None


def commit() -> str:
    """The commit of this folder, and whether files that it knows differ from it."""
    asked = ("git", "rev-parse", "--short=12", "HEAD")
    found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(("git", "diff", "--quiet", "HEAD"), check=False).returncode
    return found + (" with changes" if changed else "")
