"""Turns the rows of a user's data into items; reports all bad rows at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analyses.errors import shown
from analyses.prompts.answers import Answer, Reading, judge
from analyses.prompts.bad_rows import NoRows, Rejected, Unusable
from analyses.prompts.bounds import Bounds
from analyses.prompts.cells import Cells
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
    bad = Rejected()
    for number, row in enumerate(rows, start=1):
        try:
            read.append(_read(number, Cells.of(row, bounds), columns))
        except Unusable as reason:
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
        except Unusable as reason:
            bad.add(good.number, good.answer.where, reason)
            worse += 1
    bad.check(data, good=len(read) - worse)
    if not items:
        raise NoRows(data, "question")
    return Table(items=tuple(items), repeated=len(read) - len(items), remarks=judged.remarks)


def _first(item: Item, seen: dict[tuple[str, frozenset[str]], Item]) -> Item:
    """The first item with the same question and choices, which may be `item` itself."""
    first = seen.setdefault((item.question, frozenset([item.answer, *item.distractors])), item)
    if first.answer != item.answer:
        raise Unusable(
            f"it asks the same as {first.where}, with another answer: {shown(item.answer)}"
        )
    return first


def _item(row: _Row, right: int | str) -> Item:
    if isinstance(right, str):
        raise Unusable(right)
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


def _read(number: int, cells: Cells, columns: Columns) -> _Row:
    question = cells.text(cells.cell(columns.question), columns.question)
    choices = _choices(cells, columns.choices)
    value = _answer(cells, columns.answer)
    answer = Answer(where=cells.row.where, value=value, choices=choices)
    subject = cells.subject(columns.subject, Columns().subject)
    return _Row(number, question, subject or NO_SUBJECT, answer)


def _choices(cells: Cells, columns: Sequence[str]) -> list[str]:
    if len(columns) > 1:
        texts = [cells.text(cells.cell(column), column) for column in columns]
    else:
        (column,) = columns
        texts = [cells.text(each, column) for each in cells.listed(column, "choices")]
    if len(texts) < 2:
        raise Unusable(f"it has {len(texts)} choices, at least 2 are needed")
    if text := twice(texts):
        raise Unusable(f"the choice {text} appears twice")
    return texts


def _answer(cells: Cells, column: str) -> int | str:
    value = cells.cell(column)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise Unusable(f"{column!r} is not an index, a letter or a text: {shown(value)}")
    if isinstance(value, int):
        return value
    cells.check_length(value, column)
    return unix(value).strip()
