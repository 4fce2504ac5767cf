"""Rows of a person's own data as items: all are checked, and all bad ones named at once."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from analyses.errors import Refused
from analyses.prompts.answers import Answer, Reading, judge
from analyses.prompts.files import unix
from analyses.prompts.items import Item
from analyses.prompts.references import order_of
from analyses.prompts.rows import RawRow

NO_SUBJECT = "general knowledge"


class Columns(NamedTuple):
    """What the columns are called; `choices` is one column of lists, or one for each choice."""

    question: str = "question"
    choices: tuple[str, ...] = ("choices",)
    answer: str = "answer"
    subject: str = "subject"


class BadRow(NamedTuple):
    """A row that is no question, and why."""

    where: str
    reason: str


MOST_SUBJECT = 200  # characters


class BadRows(Refused):
    """Rows that cannot be asked; nothing is built before all are put right."""

    def __init__(self, data: str, rows: Sequence[BadRow], *, good: int) -> None:
        self.rows = tuple(rows)
        said = "\n".join(f"  {row.where}: {row.reason}" for row in rows)
        super().__init__(
            f"{len(rows)} of the {good + len(rows)} rows of {data} cannot be used. Put them right, "
            f"take them out, or name other columns:\n{said}"
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
    data: str, rows: Iterable[RawRow], columns: Columns, reading: Reading | None = None
) -> Table:
    """The items of the rows; raises `BadRows`, `AmbiguousAnswers`."""
    read: list[_Row] = []
    bad: dict[int, BadRow] = {}
    for number, row in enumerate(rows, start=1):
        try:
            read.append(_read(number, row, columns))
        except _Bad as reason:
            bad[number] = BadRow(row.where, str(reason))
    judged = judge(data, columns.answer, [each.answer for each in read], reading)
    items: list[Item] = []
    seen: dict[tuple[str, frozenset[str]], Item] = {}
    for good, right in zip(read, judged.right, strict=True):
        try:
            item = _item(good, right)
            if _first(item, seen) is item:
                items.append(item)
        except _Bad as reason:
            bad[good.number] = BadRow(good.answer.where, str(reason))
    if bad:
        usable = sum(each.number not in bad for each in read)
        raise BadRows(data, [bad[number] for number in sorted(bad)], good=usable)
    if not items:
        raise NoRows(data)
    return Table(items=tuple(items), repeated=len(read) - len(items), remarks=judged.remarks)


def _first(item: Item, seen: dict[tuple[str, frozenset[str]], Item]) -> Item:
    """The first item that asks the same of the same choices: itself, where it is the first."""
    first = seen.setdefault((item.question, frozenset([item.answer, *item.distractors])), item)
    if first.answer != item.answer:
        raise _Bad(f"it asks the same as {first.where}, with another answer: {item.answer!r}")
    return first


def _read(number: int, row: RawRow, columns: Columns) -> _Row:
    if row.problem:
        raise _Bad(row.problem)
    question = _text(_cell(row, columns.question), columns.question)
    choices = _choices(row, columns)
    value = _answer(_cell(row, columns.answer), columns.answer)
    answer = Answer(where=row.where, value=value, choices=choices)
    return _Row(number, question, _subject(row, columns), answer)


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


def _cell(row: RawRow, column: str) -> Any:
    if column not in row.values:
        there = ", ".join(map(repr, row.values)) or "none"
        raise _Bad(f"it has no column {column!r} (its columns: {there})")
    return row.values[column]


def _text(value: Any, column: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise _Bad(f"{column!r} holds no number: {value!r}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _Bad(f"{column!r} holds no text: {value!r}")
    text = unix(value).strip()
    if not text:
        raise _Bad(f"{column!r} is empty")
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise _Bad(f"{column!r} holds half a character or a null: {text!r}")
    return text


def _choices(row: RawRow, columns: Columns) -> list[str]:
    if len(columns.choices) > 1:
        texts = [_text(_cell(row, column), column) for column in columns.choices]
    else:
        (column,) = columns.choices
        cell = _cell(row, column)
        if isinstance(cell, str):  # a list in a CSV file
            try:
                cell = json.loads(cell)
            except (ValueError, RecursionError):
                raise _Bad(f"{column!r} holds no list: {cell[:100]!r}") from None
        if not isinstance(cell, list):
            raise _Bad(f"{column!r} holds no list: {cell!r}")
        texts = [_text(each, column) for each in cell]
    if len(texts) < 2:
        raise _Bad(f"it has {len(texts)} choices, at least 2 are needed")
    for text in texts:
        if texts.count(text) > 1:
            raise _Bad(f"the choice {text!r} stands in it twice")
    return texts


def _answer(value: Any, column: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _Bad(f"{column!r} is neither an index, nor a letter, nor a text: {value!r}")
    return value if isinstance(value, int) else unix(value).strip()


def _subject(row: RawRow, columns: Columns) -> str:
    if columns.subject not in row.values and columns.subject in ("", Columns().subject):
        return NO_SUBJECT
    value = _cell(row, columns.subject)
    if value is None or not str(value).strip():
        return NO_SUBJECT
    subject = " ".join(_text(value, columns.subject).replace("_", " ").split())
    if len(subject) > MOST_SUBJECT:
        raise _Bad(f"{columns.subject!r} has over {MOST_SUBJECT} characters: {subject[:100]!r}")
    return subject
