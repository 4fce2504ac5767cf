"""Templates of tasks: a text with named slots, whose spans are recorded while they are filled."""

from collections.abc import Mapping
from string import Formatter
from typing import NamedTuple

from analyses.prompts.written import Span


class Filled(NamedTuple):
    """A text, and where each slot's value is in it."""

    text: str
    spans: Mapping[str, Span]


def filled(template: str, values: Mapping[str, str]) -> Filled:
    """The template with `{slot}` replaced by the value of that name, once for each slot."""
    text, spans = "", {}
    for literal, slot, _, _ in Formatter().parse(template):
        text += literal
        if slot is not None:
            spans[slot] = Span(len(text), len(text) + len(values[slot]))
            text += values[slot]
    return Filled(text, spans)
