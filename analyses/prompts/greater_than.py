"""Greater-than: something that began in one year ended in a later one of the same century."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.slots import filled
from analyses.prompts.streams import Stream
from analyses.prompts.task_files import read

EACH = 40  # items of every template
# GPT-2 reads 1600 and 1700 as one token each, so that 00 cannot continue the text.
YEARS = tuple(f"{year:02}" for year in range(1, 100))
DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class _Event:
    """What began in which year, and the digits of its end that the text gives."""

    template: str
    noun: str
    century: str
    year: str
    end: str

    def is_over(self, candidate: str) -> bool:
        """Whether it began before the year that the candidate completes."""
        return int(self.end + candidate) > int(self.century + self.year)


def items(counterfactual: str) -> Iterator[CompletionItem]:
    """The last two digits of the end are asked; in the counterfactual it began in year 01."""
    for name, noun, century, stream in _beginnings("greater_than"):
        event = _Event(name, noun, century, stream.choice(YEARS[1:-1]), end=century)
        yield _item(event, replace(event, year="01"), YEARS)


def items_of_digits(counterfactual: str) -> Iterator[CompletionItem]:
    """The last digit of the end is asked, after its decade, which is that of the beginning.

    In the counterfactual it began in the year 1 of the decade.
    """
    for name, noun, century, stream in _beginnings("greater_than_digits"):
        decade, digit = stream.choice(DIGITS[1:]), stream.choice(DIGITS[2:-1])
        event = _Event(name, noun, century, decade + digit, end=century + decade)
        yield _item(event, replace(event, year=decade + "1"), DIGITS)


def _beginnings(task: str) -> Iterator[tuple[str, str, str, Stream]]:
    """The template, noun and century of each item, and the stream that draws its year."""
    described = read("greater_than")
    nouns = described["nouns"]
    for name in described["templates"]:
        for number in range(EACH):
            stream = Stream(task, name, number)
            yield name, nouns[number % len(nouns)], stream.choice(described["centuries"]), stream


def _item(event: _Event, other: _Event, candidates: tuple[str, ...]) -> CompletionItem:
    described = read("greater_than")
    return CompletionItem(
        id=f"{event.template}/{event.noun} {event.century}{event.year}",
        topic=described["topic"],
        unit=event.template,
        asked=_completion(described, event, candidates),
        counterfactual=_completion(described, other, candidates),
        groups={"template": event.template},
    )


def _completion(
    described: Mapping[str, Any], event: _Event, candidates: tuple[str, ...]
) -> Completion:
    text, spans = filled(described["templates"][event.template], vars(event))
    return Completion(
        text=text,
        joint="",
        candidates=candidates,
        correct=tuple(
            index for index, candidate in enumerate(candidates) if event.is_over(candidate)
        ),
        spans={"century": spans["century"], "year": spans["year"]},
    )
