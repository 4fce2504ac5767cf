"""A row of a file of questions, before it is interpreted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses.errors import Refused, shown
from analyses.prompts.files import named


@dataclass(frozen=True, kw_only=True)
class RawRow:
    """One row of a file; `problem` says why it could not be read.

    `columns` are all columns of the file, if `values` has only those that are needed.
    """

    where: str
    values: Mapping[str, Any]
    columns: Sequence[str] = ()
    problem: str | None = None


class BrokenTable(Refused):
    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{named(path)} cannot be read: {reason}. Save it again.")


def twice(names: Sequence[str]) -> str | None:
    """The first name that occurs a second time, as shown in a message."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return shown(name)
        seen.add(name)
    return None
