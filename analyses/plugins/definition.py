"""Checks the declaration of an analysis when it is registered."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from analyses.errors import Refused
from analyses.plugins.discovery import plain
from analyses.quantities import Quantity, as_varied
from analyses.stored import ScoreDescription, TensorDescription

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FUNCTIONS = ("summarise", "summarised", "ratios", "derive", "warns")


class BadDefinition(Refused):
    def __init__(self, name: object, problem: str) -> None:
        super().__init__(
            f"The analysis {plain(repr(name), 80)} cannot be registered: {plain(problem)}"
        )


def check(analysis: Any, params: type) -> None:
    """Raises `BadDefinition`; `params` is the base class of every analysis's parameters."""
    for problem in _problems(analysis, params):
        raise BadDefinition(analysis.name, problem)


def _problems(of: Any, params: type) -> Iterable[str]:
    if not isinstance(of.name, str) or not _NAME.fullmatch(of.name):
        yield "a name has up to 64 letters, digits, `_`, `.` or `-`, a letter or digit first"
        return
    if type(of.version) is not int or not 0 < of.version < 2**31:
        yield f"its version is {of.version!r}, not a positive integer"
    if not (isinstance(of.params, type) and issubclass(of.params, params)):
        yield f"its params are {of.params!r}, not a subclass of {params.__name__}"
    for name in _FUNCTIONS:
        if not callable(getattr(of, name)):
            yield f"its {name} is {getattr(of, name)!r}, not a function"
    if not (of.headline is None or isinstance(of.headline, Quantity)):
        yield f"its headline is {of.headline!r}, not a Quantity"
    if not isinstance(of.needs_model, bool):
        yield f"its needs_model is {of.needs_model!r}, not True or False"
    if not isinstance(of.conventions, Mapping):
        yield f"its conventions are {of.conventions!r}, not a mapping of strings"
    yield from _badly_stored("stores", of.stores, ScoreDescription)
    yield from _badly_stored("arrays", of.arrays, TensorDescription)
    for text in (*_texts(of),):
        if not isinstance(text, str) or any(not c.isprintable() and c not in "\n\t" for c in text):
            yield f"its text {plain(repr(text))} cannot be printed"


def _badly_stored(name: str, entries: Iterable[object], kind: type) -> Iterable[str]:
    for entry in entries:
        if not isinstance(entry, kind):
            yield f"its {name} have {entry!r}, which is not a {kind.__name__}"


def _texts(of: Any) -> Iterable[object]:
    """The texts of an analysis that are shown unchanged."""
    yield from (of.summary, of.description, of.reference)
    if isinstance(of.headline, Quantity):
        yield from (of.headline.metric, of.headline.site, of.headline.condition)
    for item in of.conventions.items():
        yield from item
    for each in of.stores:
        yield from (
            each.metric,
            each.meaning,
            each.unit,
            each.x,
            *(as_varied(one).text for one in each.varied),
        )
    for each in of.arrays:
        yield from (each.name, each.meaning, *each.axes)
