"""The named spans of a text, given by their place or by the substring."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from analyses.errors import shown
from analyses.prompts.bad_rows import Unusable
from analyses.prompts.cells import Cells
from analyses.prompts.files import unix
from analyses.prompts.written import Span

MOST_SPANS = 50
# What places of every prompt, groups of keys and parameters are called.
RESERVED = frozenset(("all", "correct_label", "each", "final", "last", "other_labels", "rest"))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")

Place = Span | str  # of a span, or the text of one that occurs once
Places = Mapping[str, Place]


def places(cells: Cells, column: str, usual: str, text: Any) -> Places:
    """The spans in a cell, which are of `text`, the cell of a prompt. Raises `Unusable`."""
    value = cells.given(column, usual)
    if value is None:
        return {}
    if isinstance(value, str):  # in a CSV file
        value = cells.decoded(value, column)
    if not isinstance(value, dict):
        given = shown(cells.cell(column))
        raise Unusable(f"{column!r} is not an object of names and spans: {given}")
    if len(value) > MOST_SPANS:
        raise Unusable(f"it has {len(value):,} spans, and {MOST_SPANS} are allowed")
    # In Parquet every row has all names, and those that it lacks are null.
    given = {name: each for name, each in value.items() if each is not None}
    return {_name(name, column): _place(cells, each, column, text) for name, each in given.items()}


def _name(name: str, column: str) -> str:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise Unusable(
            f"a span of {column!r} cannot be called {shown(name)}: use letters, digits and _, and "
            f"none of {', '.join(sorted(RESERVED))}"
        )
    return name


def _place(cells: Cells, value: Any, column: str, text: Any) -> Place:
    if isinstance(value, str):
        return cells.exact(value, column)
    if isinstance(value, list) and [type(each) for each in value] == [int, int]:
        start, stop = value
        if 0 <= start < stop <= len(str(text)):
            # In characters of the text as given, whose newlines may be \r\n.
            return Span(*(len(unix(str(text)[:each])) for each in (start, stop)))
    raise Unusable(
        f"{column!r} has {shown(value)}, which is neither [start, stop] within the text nor a part "
        f"of it"
    )


def found(given: Places, text: str, whose: str) -> dict[str, Span]:
    """The spans of `text`, none of which overlap. Raises `Unusable`."""
    spans = {
        name: _find(name, place, text, whose) if isinstance(place, str) else place
        for name, place in given.items()
    }
    ordered = sorted(spans.items(), key=lambda each: each[1])
    for name, span in ordered:
        if span.stop > len(text):
            raise Unusable(f"the span {name!r} of the {whose} includes the space at its end")
    for (name, span), (other, after) in pairwise(ordered):
        if span.stop > after.start:
            raise Unusable(f"the spans {name!r} and {other!r} of the {whose} overlap")
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
