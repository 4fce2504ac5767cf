"""The named spans of a text, given by their place or by the substring."""

import re
from collections.abc import Mapping
from typing import Any

from analyses.errors import shown
from analyses.prompts.bad_rows import Unusable
from analyses.prompts.cells import Cells
from analyses.prompts.completion_places import END, OWN_GROUPS, START
from analyses.prompts.written import Span

MOST_SPANS = 50
RESERVED = ("all", "each", "final", START, END, *OWN_GROUPS)  # what is there in every prompt
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")

WrittenSpan = Span | str  # where it is, or its text, which occurs once
WrittenSpans = Mapping[str, WrittenSpan]


def written_spans(cells: Cells, column: str, usual: str, text: Any) -> WrittenSpans:
    """The spans in a cell, which are of `text`, the cell of a prompt. Raises `Unusable`."""
    value = cells.given(column, usual)
    if value is None:
        return {}
    if isinstance(value, str):  # in a CSV file
        value = cells.decoded(value, column)
    if not isinstance(value, dict):
        written = shown(cells.cell(column))
        raise Unusable(f"{column!r} is not an object of names and spans: {written}")
    if len(value) > MOST_SPANS:
        raise Unusable(f"it has {len(value):,} spans, and {MOST_SPANS} are allowed")
    # In Parquet every row has all names, and those that it lacks are null.
    given = {name: each for name, each in value.items() if each is not None}
    return {
        _name(name, column): _span(cells, each, column, str(text)) for name, each in given.items()
    }


def _name(name: str, column: str) -> str:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise Unusable(
            f"a span of {column!r} cannot be called {shown(name)}: use letters, digits and _, and "
            f"none of {', '.join(RESERVED)}"
        )
    return name


def _span(cells: Cells, value: Any, column: str, text: str) -> WrittenSpan:
    if isinstance(value, str):
        return cells.exact(value, column)
    if isinstance(value, list) and [type(each) for each in value] == [int, int]:
        start, stop = value
        if 0 <= start < stop <= len(text):
            # In characters of the text as given, whose newlines may be \r\n.
            return Span(*(each - text.count("\r\n", 0, each) for each in (start, stop)))
    raise Unusable(
        f"{column!r} has {shown(value)}, which is neither [start, stop] within the text nor a part "
        f"of it"
    )


def found(given: WrittenSpans, text: str, whose: str) -> dict[str, Span]:
    """The spans of `text`. Raises `Unusable` for one that is not there."""
    spans = {
        name: _find(name, span, text, whose) if isinstance(span, str) else span
        for name, span in given.items()
    }
    for name, span in spans.items():
        if span.stop > len(text):
            raise Unusable(f"the span {name!r} of the {whose} includes the space at its end")
    return spans


def _find(name: str, part: str, text: str, whose: str) -> Span:
    start = text.find(part)
    if start < 0:
        raise Unusable(f"the span {name!r} is not there: the {whose} does not have {shown(part)}")
    if text.find(part, start + 1) >= 0:
        raise Unusable(
            f"the span {name!r} could be in several places: the {whose} has {shown(part)} more "
            f"than once. Give it as [start, stop]"
        )
    return Span(start, start + len(part))
