"""Turns the rows of a user's data into items; reports all bad rows at once."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from analyses.errors import MOST_SHOWN, Refused, shown
from analyses.prompts.answers import Answer, Reading, judge
from analyses.prompts.bounds import VARIABLE, Bounds
from analyses.prompts.files import unix
from analyses.prompts.items import Item
from analyses.prompts.raw_row import RawRow, twice
from analyses.prompts.references import order_of

NO_SUBJECT = "general knowledge"


class Columns(NamedTuple):
    """The names of the columns; `choices` is one column of lists, or one column per choice."""

    question: str = "question"
    choices: tuple[str, ...] = ("choices",)
    answer: str = "answer"
    subject: str = "subject"

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [self.question, *self.choices, self.answer, self.subject]


class BadRow(NamedTuple):
    """A row that cannot be used, and why."""

    where: str
    reason: str


MOST_SUBJECT = 200  # characters
MOST_NAMED = 200  # bad rows in a message
MOST_COLUMNS = 50  # columns in a message
_HALVES = re.compile("[\ud800-\udfff]")


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
    def __init__(self, data: str) -> None:
        super().__init__(f"{data} has no rows. Give at least one question.")


class _Bad(Exception):
    """Why a row cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The items of all rows; `remarks` say how the rows were read."""

    items: tuple[Item, ...]
    repeated: int  # rows left out as duplicates
    remarks: tuple[str, ...]


class _Row(NamedTuple):
    """A row with a valid question and choices, whose answer is still to be interpreted."""

    number: int
    question: str
    subject: str
    answer: Answer


def items_of(
    data: str,
    rows: Iterable[RawRow],
    columns: Columns,
    reading: Reading | None = None,
    *,
    bounds: Bounds,
) -> Table:
    """The items of the rows. Raises `BadRows`, `AmbiguousAnswers` or `NoRows`."""
    read: list[_Row] = []
    bad = _BadRows()
    for number, row in enumerate(rows, start=1):
        try:
            read.append(_Cells(row, columns, bounds).read(number))
        except _Bad as reason:
            bad.add(number, row.where, reason)
    judged = judge(data, columns.answer, [each.answer for each in read], reading)
    items: list[Item] = []
    seen: dict[tuple[str, frozenset[str]], Item] = {}
    worse = 0
    for good, right in zip(read, judged.right, strict=True):
        try:
            item = _item(good, right)
            if _first(item, seen) is item:
                items.append(item)
        except _Bad as reason:
            bad.add(good.number, good.answer.where, reason)
            worse += 1
    if bad.count:
        raise BadRows(data, bad.first(), bad=bad.count, good=len(read) - worse)
    if not items:
        raise NoRows(data)
    return Table(items=tuple(items), repeated=len(read) - len(items), remarks=judged.remarks)


class _BadRows:
    """Counts bad rows, and keeps the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[int, BadRow]] = []

    def add(self, number: int, where: str, reason: Exception) -> None:
        self.count += 1
        if self.count <= 2 * MOST_NAMED:  # rows may be added out of order
            self._kept.append((number, BadRow(where, str(reason))))

    def first(self) -> list[BadRow]:
        """The first bad rows, in the order of the file."""
        return [row for _, row in sorted(self._kept)[:MOST_NAMED]]


def _first(item: Item, seen: dict[tuple[str, frozenset[str]], Item]) -> Item:
    """The first item with the same question and choices, which may be `item` itself."""
    first = seen.setdefault((item.question, frozenset([item.answer, *item.distractors])), item)
    if first.answer != item.answer:
        raise _Bad(f"it asks the same as {first.where}, with another answer: {shown(item.answer)}")
    return first


def _item(row: _Row, right: int | str) -> Item:
    if isinstance(right, str):
        raise _Bad(right)
    choices = row.answer.choices
    return Item(
        id=f"{row.subject}/{row.number}",
        topic=row.subject,
        question=row.question,
        answer=choices[right],
        distractors=tuple(each for each in choices if each != choices[right]),
        where=row.answer.where,
        order=order_of(choices, right),
    )


@dataclass(frozen=True)
class _Cells:
    """The cells of a row, each checked against the bounds."""

    row: RawRow
    columns: Columns
    bounds: Bounds

    def read(self, number: int) -> _Row:
        """Raises `_Bad`."""
        if self.row.problem:
            raise _Bad(self.row.problem)
        question = self._text(self._cell(self.columns.question), self.columns.question)
        choices = self._choices()
        value = self._answer(self._cell(self.columns.answer), self.columns.answer)
        answer = Answer(where=self.row.where, value=value, choices=choices)
        return _Row(number, question, self._subject(), answer)

    def _cell(self, column: str) -> Any:
        if column not in self.row.values:
            columns = list(self.row.columns or self.row.values)
            more = f" and {len(columns) - MOST_COLUMNS} more" if len(columns) > MOST_COLUMNS else ""
            names = ", ".join(map(shown, columns[:MOST_COLUMNS])) or "none"
            raise _Bad(f"it has no column {shown(column)} (its columns: {names}{more})")
        return self.row.values[column]

    def _text(self, value: Any, column: str) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            raise _Bad(f"{column!r} is not a finite number: {value!r}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise _Bad(f"{column!r} is not text: {shown(value)}")
        self._check_length(value, column)
        text = unix(value).strip()
        if not text:
            raise _Bad(f"{column!r} is empty")
        if "\0" in text or _HALVES.search(text):
            raise _Bad(f"{column!r} contains a lone surrogate or a null character: {shown(text)}")
        return text

    def _check_length(self, value: str, column: str) -> None:
        if len(value) > self.bounds.cell:
            raise _Bad(
                f"{column!r} has {len(value):,} characters, and {self.bounds.cell:,} are allowed; "
                f"{VARIABLE} raises that"
            )

    def _choices(self) -> list[str]:
        columns = self.columns.choices
        if len(columns) > 1:
            texts = [self._text(self._cell(column), column) for column in columns]
        else:
            (column,) = columns
            texts = [self._text(each, column) for each in self._list(column)]
        if len(texts) < 2:
            raise _Bad(f"it has {len(texts)} choices, at least 2 are needed")
        if text := twice(texts):
            raise _Bad(f"the choice {text} appears twice")
        return texts

    def _list(self, column: str) -> list[Any]:
        cell = self._cell(column)
        if isinstance(cell, str):  # a list in a CSV file
            self._check_length(cell, column)
            try:
                cell = json.loads(cell)
            except (ValueError, RecursionError):
                raise _Bad(f"{column!r} is not a list: {cell[:MOST_SHOWN]!r}") from None
        if not isinstance(cell, list):
            raise _Bad(f"{column!r} is not a list: {shown(cell)}")
        if len(cell) > self.bounds.choices:
            raise _Bad(
                f"it has {len(cell):,} choices, and {self.bounds.choices:,} are allowed; "
                f"{VARIABLE} raises that"
            )
        return cell

    def _answer(self, value: Any, column: str) -> int | str:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise _Bad(f"{column!r} is not an index, a letter or a text: {shown(value)}")
        if isinstance(value, int):
            return value
        self._check_length(value, column)
        return unix(value).strip()

    def _subject(self) -> str:
        column = self.columns.subject
        if column not in self.row.values and column in ("", Columns().subject):
            return NO_SUBJECT
        value = self._cell(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return NO_SUBJECT
        subject = " ".join(self._text(value, column).replace("_", " ").split())
        if len(subject) > MOST_SUBJECT:
            raise _Bad(f"{column!r} has over {MOST_SUBJECT} characters: {subject[:100]!r}")
        return subject
