"""Errors of the analyses, whose messages say what is wrong, with its value, and what to do."""

from collections.abc import Collection
from difflib import get_close_matches
from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_SHOWN = 100  # characters of a value in a message
MOST_MISTAKES = 10  # validation errors in one message

_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MOST_SHOWN
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 10


class Refused(Exception):
    """The input cannot be used as it is; the message says how to fix it."""

    @property
    def first_line(self) -> str:
        """The message without a list of further problems."""
        return str(self).partition("\n")[0]


def shown(value: object) -> str:
    """The value's repr, with the middle left out if it is long or deeply nested."""
    return _REPR.repr(value)


def mistakes(error: "ValidationError", whole: str) -> str:
    """pydantic's errors, field by field, in one sentence; `whole` names the object itself."""
    errors = error.errors(include_url=False, include_context=False)
    parts = [
        f"{'.'.join(map(str, each['loc']))[:MOST_SHOWN] or whole}: {each['msg']} "
        f"(given: {shown(each['input'])})"
        for each in errors[:MOST_MISTAKES]
    ]
    if len(errors) > MOST_MISTAKES:
        parts.append(f"and {len(errors) - MOST_MISTAKES} more")
    return "; ".join(parts)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A suggestion to append to a message about an unknown name, or an empty string."""
    if len(name) > MOST_SHOWN:
        return ""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class MayNotBeRead(Refused):
    """This user lacks permission to read a path; says nothing about whether it exists."""

    def __init__(self, error: OSError, path: object) -> None:
        super().__init__(
            f"Permission denied: this user cannot read {error.filename or path}. Change its "
            "permissions (`chmod`, also on the folders above it), or give a readable copy."
        )
