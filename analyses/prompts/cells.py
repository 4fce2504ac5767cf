"""The cells of a row of a user's data, each checked before it is used."""

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from analyses.errors import MOST_SHOWN, shown
from analyses.prompts.bad_rows import Unusable
from analyses.prompts.bounds import VARIABLE, Bounds
from analyses.prompts.files import unix
from analyses.prompts.raw_row import RawRow

MOST_NAME = 200  # characters of a subject, or of another name of several rows
_MOST_COLUMNS = 50  # in a message
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Cells:
    """The cells of a row, each checked against the bounds. The methods raise `Unusable`."""

    row: RawRow
    bounds: Bounds

    @classmethod
    def of(cls, row: RawRow, bounds: Bounds) -> "Cells":
        """The cells of a row that could be read."""
        if row.problem:
            raise Unusable(row.problem)
        return cls(row, bounds)

    def cell(self, column: str) -> Any:
        if column not in self.row.values:
            columns = list(self.row.columns or self.row.values)
            more = len(columns) - _MOST_COLUMNS
            names = ", ".join(map(shown, columns[:_MOST_COLUMNS])) or "none"
            raise Unusable(
                f"it has no column {shown(column)} "
                f"(its columns: {names}{f' and {more} more' if more > 0 else ''})"
            )
        return self.row.values[column]

    def given(self, column: str, usual: str) -> Any:
        """The cell; None if it is empty, or if there is no column of the usual name."""
        if column not in self.row.values and column in ("", usual):
            return None
        value = self.cell(column)
        return None if isinstance(value, str) and not value.strip() else value

    def exact(self, value: Any, column: str) -> str:
        """A text as it is, with \\n for every newline."""
        if isinstance(value, float) and not math.isfinite(value):
            raise Unusable(f"{column!r} is not a finite number: {value!r}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise Unusable(f"{column!r} is not text: {shown(value)}")
        self.check_length(value, column)
        if "\0" in value or _HALVES.search(value):
            raise Unusable(
                f"{column!r} contains a lone surrogate or a null character: {shown(value)}"
            )
        if not value.strip():
            raise Unusable(f"{column!r} is empty")
        return unix(value)

    def text(self, value: Any, column: str) -> str:
        """A text without spaces and newlines around it."""
        return self.exact(value, column).strip()

    def check_length(self, value: str, column: str) -> None:
        if len(value) > self.bounds.cell:
            raise Unusable(
                f"{column!r} has {len(value):,} characters, and {self.bounds.cell:,} are allowed; "
                f"{VARIABLE} raises that"
            )

    def listed(self, column: str, what: str) -> list[Any]:
        """The list in a cell, or in the JSON of a cell of a CSV file; `what` it is a list of."""
        cell = self.cell(column)
        if isinstance(cell, str):
            value = self.decoded(cell, column)
            if not isinstance(value, list):
                raise Unusable(f"{column!r} is not a list: {cell[:MOST_SHOWN]!r}")
            cell = value
        return self.checked_list(cell, column, what)

    def checked_list(self, cell: Any, column: str, what: str) -> list[Any]:
        """The value, which must be a list that is not too long."""
        if not isinstance(cell, list):
            raise Unusable(f"{column!r} is not a list: {shown(cell)}")
        if len(cell) > self.bounds.choices:
            raise Unusable(
                f"it has {len(cell):,} {what}, and {self.bounds.choices:,} are allowed; "
                f"{VARIABLE} raises that"
            )
        return cell

    def decoded(self, cell: str, column: str) -> Any:
        """The value of a cell's JSON, or None."""
        self.check_length(cell, column)
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return None

    def inside(self, column: str) -> "Cells | None":
        """The cells of the object in a cell, or None if the cell is empty."""
        value = self.given(column, "")
        if isinstance(value, str):  # in a CSV file
            value = self.decoded(value, column)
        if value is not None and not isinstance(value, dict):
            raise Unusable(f"{column!r} is not an object: {shown(self.cell(column))}")
        return (
            None
            if value is None
            else Cells(replace(self.row, values=value, columns=()), self.bounds)
        )

    def name(self, value: Any, column: str) -> str:
        """A short text that several rows may have in common."""
        name = " ".join(self.text(value, column).split())
        if len(name) > MOST_NAME:
            raise Unusable(f"{column!r} has over {MOST_NAME} characters: {name[:100]!r}")
        return name

    def subject(self, column: str, usual: str) -> str | None:
        """The row's topic, or None if it has none."""
        value = self.given(column, usual)
        return (
            None if value is None else " ".join(self.name(value, column).replace("_", " ").split())
        )
