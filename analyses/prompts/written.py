"""A plan in words: the text of a prompt, and where in it everything stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """`text[start:stop]`, in characters."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """A prompt's text, with the spans that were noted while it was put together.

    A label continues the text after `joint`: a space, or nothing.
    """

    text: str
    joint: str
    question_span: Span
    label_spans: tuple[Span, ...]
    option_spans: tuple[Span, ...]
    line_stops: tuple[int, ...]  # where each option's line ends, behind its newline


def line_stops(text: str, labels: Sequence[Span], options: Sequence[Span]) -> tuple[int, ...]:
    """Where the line of each option ends: behind the next newline, if no label stands before it.

    Options that share a line, or end the text, end with themselves.
    """
    stops = []
    for option in options:
        limit = min((each.start for each in labels if each.start >= option.stop), default=len(text))
        newline = text.find("\n", option.stop, limit)
        stops.append(option.stop if newline < 0 else newline + 1)
    return tuple(stops)
