"""Rows of a person's own data as items: all are checked, and all bad ones named at once."""

import json
import math
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from analyses.errors import Refused
from analyses.prompts.files import unix
from analyses.prompts.items import Item
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


def items_of(data: str, rows: Iterable[RawRow], columns: Columns) -> tuple[list[Item], int]:
    """The items of the rows, and how many rows only repeated one; raises `BadRows`."""
    items: list[Item] = []
    bad: list[BadRow] = []
    seen: dict[tuple[str, frozenset[str]], tuple[str, str]] = {}
    repeated = 0
    for number, row in enumerate(rows, start=1):
        try:
            item = _item(number, row, columns)
            key = item.question, frozenset([item.answer, *item.distractors])
            where, answer = seen.setdefault(key, (row.where, item.answer))
            if answer != item.answer:
                raise _Bad(f"it asks the same as {where}, with another answer: {item.answer!r}")
        except _Bad as reason:
            bad.append(BadRow(row.where, str(reason)))
            continue
        if where == row.where:
            items.append(item)
        else:
            repeated += 1
    if bad:
        raise BadRows(data, bad, good=len(items) + repeated)
    if not items:
        raise NoRows(data)
    return items, repeated


def _item(number: int, row: RawRow, columns: Columns) -> Item:
    if row.problem:
        raise _Bad(row.problem)
    question = _text(_cell(row, columns.question), columns.question)
    choices = _choices(row, columns)
    right = _right(_cell(row, columns.answer), choices, columns.answer)
    subject = _subject(row, columns)
    return Item(
        id=f"{subject}/{number}",
        topic=subject,
        question=question,
        answer=choices[right],
        distractors=tuple(each for each in choices if each != choices[right]),
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


def _right(value: Any, choices: Sequence[str], column: str) -> int:
    """Which choice is the answer: a number is an index from 0; text may be three things."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _Bad(f"{column!r} is neither an index, nor a letter, nor a text: {value!r}")
    if isinstance(value, int):
        if not 0 <= value < len(choices):
            raise _Bad(f"{column!r} is {value}, and the choices are 0 to {len(choices) - 1}")
        return value
    text = unix(value).strip()
    letters = ascii_uppercase[: len(choices)]
    readings = {choices.index(text)} if text in choices else set()
    if len(text) == 1 and text.upper() in letters:
        readings.add(letters.index(text.upper()))
    if text.isascii() and text.isdecimal() and len(text) < 4 and int(text) < len(choices):
        readings.add(int(text))
    if not readings:
        raise _Bad(f"{column!r} is {text[:100]!r}: no choice, no index and no letter of one")
    if len(readings) > 1:
        raise _Bad(f"{column!r} is {text!r}, which could be a choice's text or its index or letter")
    return readings.pop()


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
