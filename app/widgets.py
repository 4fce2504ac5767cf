"""Widgets that pages share: an input for each kind of form field, and badges of run states."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import streamlit as st

from analyses.shown import in_markdown, one_line
from app.form_fields import FieldKind, FormField
from tracker.domain import RunState

Colour = Literal["gray", "blue", "violet", "green", "red", "orange"]
COLOURS: Mapping[RunState, Colour] = {
    RunState.QUEUED: "gray",
    RunState.RUNNING: "blue",
    RunState.FINISHING: "violet",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "orange",
}
LARGEST = 2**53 - 1  # largest integer that a browser represents exactly


def state(of: RunState, *, count: int | None = None) -> None:
    """A badge with the state in its colour, and `count` runs if given; gray if `count` is 0."""
    text = of.value if count is None else f"{count} {of.value}"
    st.badge(text, color="gray" if count == 0 else COLOURS[of])


def ask(fields: Sequence[FormField], *, key: str) -> dict[str, Any]:
    """Draw the fields and return their values by name."""
    return {field.name: field.value(_widget(field, f"{key}.{field.name}")) for field in fields}


def _widget(field: FormField, key: str) -> Any:
    title, help_text = _title(field), _help(field)
    match field.kind:
        case FieldKind.INTEGER | FieldKind.NUMBER:
            return _number(field, key)
        case FieldKind.BOOLEAN if not field.optional:
            return st.checkbox(title, bool(field.default), key=key, help=help_text)
        case FieldKind.BOOLEAN | FieldKind.CHOICE:
            return _choice(field, key)
        case FieldKind.LIST | FieldKind.JSON:
            hint = "separated by commas" if field.kind is FieldKind.LIST else "as JSON"
            return st.text_input(f"{title} ({hint})", field.text, key=key, help=help_text)
    return st.text_input(title, field.text, key=key, help=help_text)


def _title(field: FormField) -> str:
    return in_markdown(field.title)


def _help(field: FormField) -> str | None:
    return None if field.description is None else in_markdown(field.description)


def _number(field: FormField, key: str) -> Any:
    """A number input; Streamlit requires all its numbers to have the same type."""
    kind = int if field.kind is FieldKind.INTEGER else float
    start = field.default if field.default is not None or field.optional else field.least or 0
    numbers: dict[str, Any] = {
        "min_value": field.least,
        "max_value": _most(field),
        "value": start,
        "step": field.step or _step(field),
    }
    typed: Any = {
        name: None if number is None else kind(number) for name, number in numbers.items()
    }
    return st.number_input(
        _title(field),
        **typed,
        format=None if kind is int else "%g",
        key=key,
        help=_help(field),
        placeholder="not set" if field.optional else None,
    )


def _most(field: FormField) -> float | None:
    return LARGEST if field.most is not None and field.most > LARGEST else field.most


def _step(field: FormField) -> float:
    """One tenth of the default's order of magnitude, so that small numbers have small steps."""
    if field.kind is FieldKind.INTEGER:
        return 1
    return float(10.0 ** (math.floor(math.log10(abs(field.default))) - 1 if field.default else -2))


def _choice(field: FormField, key: str) -> Any:
    choices = field.choices or (True, False)
    start = choices.index(field.default) if field.default in choices else None
    return st.selectbox(
        _title(field),
        choices,
        format_func=one_line,
        index=start if start is not None or field.optional else 0,
        key=key,
        help=_help(field),
        placeholder="not set" if field.optional else None,
    )
