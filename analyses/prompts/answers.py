"""Interprets a column of answers over all its rows, since a single row may be ambiguous."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from string import ascii_uppercase

from analyses.errors import Refused, shown


class Reading(StrEnum):
    FROM_0 = "from_0"
    FROM_1 = "from_1"
    LETTER = "letter"
    TEXT = "text"


MEANING: Mapping[Reading, str] = {
    Reading.FROM_0: "indices of choices, counted from 0",
    Reading.FROM_1: "indices of choices, counted from 1",
    Reading.LETTER: "letters of choices",
    Reading.TEXT: "texts of choices",
}
LONGEST_INDEX = 3  # digits
UNLIKELY = 0.01  # probability that the first or last index never occurs in a file


class AmbiguousAnswers(Refused):
    def __init__(self, data: str, column: str, answer: "Answer", among: Sequence[Reading]) -> None:
        readings = "; ".join(
            f"{MEANING[each]}, so that {shown(answer.value)} is "
            f"{shown(answer.choices[answer.by[each]])}"
            for each in among
        )
        super().__init__(
            f"The answers in {column!r} of {data} are ambiguous: they have {len(among)} readings "
            f"(at {answer.where}): {readings}. Choose one with the recipe's answer_reading "
            f"(--answer-reading): {', '.join(among)}."
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a row as written, and the row's choices."""

    where: str
    value: int | str
    choices: Sequence[str]

    @property
    def text(self) -> str:
        return str(self.value)

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int) or (self.text.isascii() and self.text.isdecimal())

    @property
    def by(self) -> Mapping[Reading, int]:
        """The index of the choice, from 0, by every reading that fits."""
        text, letters = self.text, ascii_uppercase[: len(self.choices)]
        by = {}
        if self.is_number and len(text) <= LONGEST_INDEX:
            index = int(text)
            if 0 <= index < len(self.choices):
                by[Reading.FROM_0] = index
            if 1 <= index <= len(self.choices):
                by[Reading.FROM_1] = index - 1
        if len(text) == 1 and text.upper() in letters:
            by[Reading.LETTER] = letters.index(text.upper())
        if text in self.choices:
            by[Reading.TEXT] = self.choices.index(text)
        return by


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The index of each row's correct choice, or why it has none; `remarks` say how it was read."""

    right: Sequence[int | str]
    remarks: tuple[str, ...]


def judge(
    data: str, column: str, answers: Sequence[Answer], reading: Reading | None = None
) -> Judged:
    """Interpret all answers: by `reading` if given, else by the one reading that fits all numbers
    and the one that fits all words. Raises `AmbiguousAnswers`.
    """
    if reading is not None:
        return Judged(
            right=[_right(each, [reading], column) for each in answers],
            remarks=(f"The answers in {column!r} are read as {MEANING[reading]}.",),
        )
    numbers = [each for each in answers if each.is_number]
    words = [each for each in answers if not each.is_number]
    of_numbers = _of_numbers(data, column, numbers)
    of_words = _fitting(words, (Reading.LETTER, Reading.TEXT))
    if len(of_words) > 1:
        raise AmbiguousAnswers(data, column, _differing(words, of_words), of_words)
    right = [
        _right(
            each,
            of_numbers if each.is_number else of_words or [Reading.LETTER, Reading.TEXT],
            column,
        )
        for each in answers
    ]
    remarks = [
        f"The answers in {column!r} are read as {MEANING[each]}{_counted(each, numbers)}."
        for each in (of_numbers[:1] if numbers else [])
    ]
    return Judged(right=right, remarks=(*remarks, *_of_words(words, of_words, column)))


def _of_numbers(data: str, column: str, answers: Sequence[Answer]) -> list[Reading]:
    """The reading of numbers; if none fits all, the one that fits most, then texts."""
    candidates = (Reading.FROM_0, Reading.TEXT, Reading.FROM_1)
    fitting = _fitting(answers, candidates)
    if not fitting:
        fits = Counter(each for answer in answers for each in answer.by if each in candidates)
        best = max(candidates, key=lambda each: fits[each])
        return [best, Reading.TEXT] if best is not Reading.TEXT else [best]
    unique = len(fitting) == 1 or (
        Reading.TEXT not in fitting and not _would_show_first_index(answers)
    )
    if not unique:
        raise AmbiguousAnswers(data, column, _differing(answers, fitting), fitting)
    return fitting[:1]


def _fitting(answers: Sequence[Answer], candidates: Sequence[Reading]) -> list[Reading]:
    """The readings that fit all answers; of several that agree on every answer, the first."""
    by = [answer.by for answer in answers]
    fitting: dict[tuple[int, ...], Reading] = {}
    for reading in candidates:
        if answers and all(reading in each for each in by):
            fitting.setdefault(tuple(each[reading] for each in by), reading)
    return list(fitting.values())


def _would_show_first_index(answers: Sequence[Answer]) -> bool:
    """Whether the first index would almost surely occur among so many answers if it could."""
    return prod(1 - 1 / len(each.choices) for each in answers) < UNLIKELY


def _differing(answers: Sequence[Answer], readings: Sequence[Reading]) -> Answer:
    return next(each for each in answers if len({each.by[way] for way in readings}) > 1)


def _right(answer: Answer, readings: Sequence[Reading], column: str) -> int | str:
    """The correct choice by the readings, or why there is none; a number must fit the first."""
    by = answer.by
    choices = {by[each] for each in readings if each in by}
    fits = readings[0] in by or not answer.is_number
    if len(choices) == 1 and fits:
        return choices.pop()
    if choices and fits:
        return (
            f"{column!r} is {shown(answer.value)}, which could be a choice's text or its index "
            f"or letter"
        )
    if isinstance(answer.value, int) and readings[0] in (Reading.FROM_0, Reading.FROM_1):
        first = 0 if readings[0] is Reading.FROM_0 else 1
        last = first + len(answer.choices) - 1
        return f"{column!r} is {shown(answer.value)}, and the choices are {first} to {last}"
    if len(readings) == 1 and readings[0] in (Reading.LETTER, Reading.TEXT):
        return f"{column!r} is {answer.text[:100]!r}: it is none of the {MEANING[readings[0]]}"
    return f"{column!r} is {answer.text[:100]!r}: no choice, no index and no letter of one"


def _counted(reading: Reading, numbers: Sequence[Answer]) -> str:
    """A warning if the indices could as well count from 1."""
    if reading is Reading.FROM_0 and all(Reading.FROM_1 in each.by for each in numbers):
        return " (none is 0: if they count from 1, set answer_reading to from_1)"
    return ""


def _of_words(words: Sequence[Answer], fitting: Sequence[Reading], column: str) -> list[str]:
    if not words:
        return []
    if fitting:
        return [f"The answers in {column!r} that are words are read as {MEANING[fitting[0]]}."]
    return [f"The answers in {column!r} that are words are letters in some rows, texts in others."]
