"""What a column of answers means: judged over all its rows, as one row may be read in two ways."""

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
UNLIKELY = 0.01  # that a file which counts in one way never holds its first or its last index


class AmbiguousAnswers(Refused):
    def __init__(self, data: str, column: str, answer: "Answer", among: Sequence[Reading]) -> None:
        said = "; ".join(
            f"{MEANING[each]}, so that {shown(answer.value)} is "
            f"{shown(answer.choices[answer.by[each]])}"
            for each in among
        )
        super().__init__(
            f"The answers in {column!r} of {data} may be read in {len(among)} ways (at "
            f"{answer.where}): {said}. Say which by the recipe's answer_reading "
            f"(--answer-reading): {', '.join(among)}."
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a row holds for its answer, beside its choices."""

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
        """Which choice it is, by every reading that fits."""
        text, letters = self.text, ascii_uppercase[: len(self.choices)]
        found = {}
        if self.is_number and len(text) <= LONGEST_INDEX:
            index = int(text)
            if 0 <= index < len(self.choices):
                found[Reading.FROM_0] = index
            if 1 <= index <= len(self.choices):
                found[Reading.FROM_1] = index - 1
        if len(text) == 1 and text.upper() in letters:
            found[Reading.LETTER] = letters.index(text.upper())
        if text in self.choices:
            found[Reading.TEXT] = self.choices.index(text)
        return found


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The right choice of each row, or why it has none; how the column was read, in sentences."""

    right: Sequence[int | str]
    remarks: tuple[str, ...]


def judge(
    data: str, column: str, answers: Sequence[Answer], reading: Reading | None = None
) -> Judged:
    """Read all answers alike: in the way that is given, or the one way that fits all numbers, and
    the one that fits all words. Raises `AmbiguousAnswers`.
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
    said = [
        f"The answers in {column!r} are read as {MEANING[each]}{_counted(each, numbers)}."
        for each in (of_numbers[:1] if numbers else [])
    ]
    return Judged(right=right, remarks=(*said, *_of_words(words, of_words, column)))


def _of_numbers(data: str, column: str, answers: Sequence[Answer]) -> list[Reading]:
    """The reading of numbers; where none fits all, the one that fits most and texts beside it."""
    tried = (Reading.FROM_0, Reading.TEXT, Reading.FROM_1)
    fitting = _fitting(answers, tried)
    if not fitting:
        most = Counter(each for answer in answers for each in answer.by if each in tried)
        best = max(tried, key=lambda each: most[each])
        return [best, Reading.TEXT] if best is not Reading.TEXT else [best]
    sure = len(fitting) == 1 or (Reading.TEXT not in fitting and not _telling(answers))
    if not sure:
        raise AmbiguousAnswers(data, column, _differing(answers, fitting), fitting)
    return fitting[:1]


def _fitting(answers: Sequence[Answer], tried: Sequence[Reading]) -> list[Reading]:
    """The readings that fit all answers; of several that say the same, the first."""
    by = [answer.by for answer in answers]
    found: dict[tuple[int, ...], Reading] = {}
    for reading in tried:
        if answers and all(reading in each for each in by):
            found.setdefault(tuple(each[reading] for each in by), reading)
    return list(found.values())


def _telling(answers: Sequence[Answer]) -> bool:
    """Whether so many answers would hold the first index, whichever it is, if it were theirs."""
    return prod(1 - 1 / len(each.choices) for each in answers) < UNLIKELY


def _differing(answers: Sequence[Answer], readings: Sequence[Reading]) -> Answer:
    return next(each for each in answers if len({each.by[way] for way in readings}) > 1)


def _right(answer: Answer, readings: Sequence[Reading], column: str) -> int | str:
    """The choice that is right by the readings, or why there is none; a number by the first."""
    by = answer.by
    found = {by[each] for each in readings if each in by}
    there = readings[0] in by or not answer.is_number
    if len(found) == 1 and there:
        return found.pop()
    if found and there:
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
    """A warning where an index could as well be counted from the other end."""
    if reading is Reading.FROM_0 and all(Reading.FROM_1 in each.by for each in numbers):
        return " (none is 0: if they count from 1, set answer_reading to from_1)"
    return ""


def _of_words(words: Sequence[Answer], fitting: Sequence[Reading], column: str) -> list[str]:
    if not words:
        return []
    if fitting:
        return [f"The answers in {column!r} that are words are read as {MEANING[fitting[0]]}."]
    return [f"The answers in {column!r} that are words are letters in some rows, texts in others."]
