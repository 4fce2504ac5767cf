"""Rows of a user's data that cannot be used: all of them are reported at once."""

from collections.abc import Sequence
from typing import NamedTuple

from analyses.errors import Refused

MOST_NAMED = 200  # bad rows in a message


class Unusable(Exception):
    """Why a row cannot be used."""


class BadRow(NamedTuple):
    """A row that cannot be used, and why."""

    where: str
    reason: str


class BadRows(Refused):
    """Rows that cannot be used, of which `rows` are the first; nothing is built with bad rows."""

    def __init__(self, data: str, rows: Sequence[BadRow], *, bad: int, good: int) -> None:
        self.rows = tuple(rows)
        lines = [f"  {row.where}: {row.reason}" for row in rows]
        if bad > len(rows):
            lines.append(f"  and {bad - len(rows)} more")
        super().__init__(
            f"{bad} of the {good + bad} rows of {data} cannot be used. Fix or remove them, or name "
            f"other columns:\n" + "\n".join(lines)
        )


class NoRows(Refused):
    def __init__(self, data: str, what: str) -> None:
        super().__init__(f"{data} has no rows. Give at least one {what}.")


class Rejected:
    """Counts bad rows, and keeps the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[int, BadRow]] = []

    def add(self, number: int, where: str, reason: Unusable) -> None:
        self.count += 1
        if self.count <= 2 * MOST_NAMED:  # rows may be added out of order
            self._kept.append((number, BadRow(where, str(reason))))

    def check(self, data: str, *, good: int) -> None:
        """Raises `BadRows` if there are any, with the first in the order of the file."""
        if self.count:
            first = [row for _, row in sorted(self._kept)[:MOST_NAMED]]
            raise BadRows(data, first, bad=self.count, good=good)
