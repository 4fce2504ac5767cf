"""Rows of a person's own data as items: all are checked, and all bad ones named at once."""

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
    """What the columns are called; `choices` is one column of lists, or one for each choice."""

    question: str = "question"
    choices: tuple[str, ...] = ("choices",)
    answer: str = "answer"
    subject: str = "subject"

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [self.question, *self.choices, self.answer, self.subject]


class BadRow(NamedTuple):
    """A row that is no question, and why."""

    where: str
    reason: str


MOST_SUBJECT = 200  # characters
MOST_NAMED = 200  # bad rows
MOST_COLUMNS = 50  # that a sentence names
_HALVES = re.compile("[\ud800-\udfff]")


class BadRows(Refused):
    """Rows that cannot be asked, the first of them; nothing is built before all are put right."""

    def __init__(self, data: str, rows: Sequence[BadRow], *, bad: int, good: int) -> None:
        self.rows = tuple(rows)
        said = [f"  {row.where}: {row.reason}" for row in rows]
        if bad > len(rows):
            said.append(f"  and {bad - len(rows)} more")
        super().__init__(
            f"{bad} of the {good + bad} rows of {data} cannot be used. Put them right, "
            f"take them out, or name other columns:\n" + "\n".join(said)
        )


class NoRows(Refused):
    def __init__(self, data: str) -> None:
        super().__init__(f"{data} holds no rows. Give at least one question.")


class _Bad(Exception):
    """Why a row is no question."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The items of all rows; `remarks` say how the rows were read."""

    items: tuple[Item, ...]
    repeated: int  # rows that were left out, since they only repeat another
    remarks: tuple[str, ...]


class _Row(NamedTuple):
    """A row whose question and choices are good; what its answer means is yet to be judged."""

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
    """The items of the rows; raises `BadRows`, `AmbiguousAnswers`."""
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
    """How many rows are bad; those that are named."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[int, BadRow]] = []

    def add(self, number: int, where: str, reason: Exception) -> None:
        self.count += 1
        if self.count <= 2 * MOST_NAMED:  # what is found late may stand first
            self._kept.append((number, BadRow(where, str(reason))))

    def first(self) -> list[BadRow]:
        """In the order of the file."""
        return [row for _, row in sorted(self._kept)[:MOST_NAMED]]


def _first(item: Item, seen: dict[tuple[str, frozenset[str]], Item]) -> Item:
    """The first item that asks the same of the same choices: itself, where it is the first."""
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
    """The cells of a row, each held against the bounds."""

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
            there = list(self.row.columns or self.row.values)
            more = f" and {len(there) - MOST_COLUMNS} more" if len(there) > MOST_COLUMNS else ""
            names = ", ".join(map(shown, there[:MOST_COLUMNS])) or "none"
            raise _Bad(f"it has no column {shown(column)} (its columns: {names}{more})")
        return self.row.values[column]

    def _text(self, value: Any, column: str) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            raise _Bad(f"{column!r} holds no number: {value!r}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise _Bad(f"{column!r} holds no text: {shown(value)}")
        self._check_length(value, column)
        text = unix(value).strip()
        if not text:
            raise _Bad(f"{column!r} is empty")
        if "\0" in text or _HALVES.search(text):
            raise _Bad(f"{column!r} holds half a character or a null: {shown(text)}")
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
            raise _Bad(f"the choice {text} stands in it twice")
        return texts

    def _list(self, column: str) -> list[Any]:
        cell = self._cell(column)
        if isinstance(cell, str):  # a list in a CSV file
            self._check_length(cell, column)
            try:
                cell = json.loads(cell)
            except (ValueError, RecursionError):
                raise _Bad(f"{column!r} holds no list: {cell[:MOST_SHOWN]!r}") from None
        if not isinstance(cell, list):
            raise _Bad(f"{column!r} holds no list: {shown(cell)}")
        if len(cell) > self.bounds.choices:
            raise _Bad(
                f"it has {len(cell):,} choices, and {self.bounds.choices:,} are allowed; "
                f"{VARIABLE} raises that"
            )
        return cell

    def _answer(self, value: Any, column: str) -> int | str:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise _Bad(f"{column!r} is neither an index, nor a letter, nor a text: {shown(value)}")
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
