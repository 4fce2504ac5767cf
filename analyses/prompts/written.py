"""A worded plan: the text of a prompt and the spans of its parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """`text[start:stop]`, in characters."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """A prompt's text, with the spans recorded while it was built.

    A label continues the text after `joint`, which is a space or empty.
    """

    text: str
    joint: str
    question_span: Span
    label_spans: tuple[Span, ...]
    option_spans: tuple[Span, ...]
    line_stops: tuple[int, ...]  # where each option's line ends, after its newline


def line_stops(text: str, labels: Sequence[Span], options: Sequence[Span]) -> tuple[int, ...]:
    """Where the line of each option ends: after the next newline, if no label comes before it.

    Otherwise, and at the end of the text, where the option itself ends.
    """
    stops = []
    for option in options:
        limit = min((each.start for each in labels if each.start >= option.stop), default=len(text))
        newline = text.find("\n", option.stop, limit)
        stops.append(option.stop if newline < 0 else newline + 1)
    return tuple(stops)
