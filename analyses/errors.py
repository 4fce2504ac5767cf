"""What the analyses refuse, as sentences that name the thing, the value and the way out."""

from collections.abc import Collection
from difflib import get_close_matches
from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_SHOWN = 100  # characters of a value in a sentence
MOST_MISTAKES = 10  # that one sentence names

_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MOST_SHOWN
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 10


class Refused(Exception):
    """The input cannot be worked on as it is; the message says what would make it work."""


def shown(value: object) -> str:
    """The value as Python writes it, without its middle where it is long, wide or deep."""
    return _REPR.repr(value)


def mistakes(error: "ValidationError", whole: str) -> str:
    """What pydantic found, field by field, in one sentence; `whole` is what has the fields."""
    found = error.errors(include_url=False, include_context=False)
    said = [
        f"{'.'.join(map(str, each['loc']))[:MOST_SHOWN] or whole}: {each['msg']} "
        f"(given: {shown(each['input'])})"
        for each in found[:MOST_MISTAKES]
    ]
    if len(found) > MOST_MISTAKES:
        said.append(f"and {len(found) - MOST_MISTAKES} more")
    return "; ".join(said)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question to put after the sentence about an unknown name, or nothing."""
    if len(name) > MOST_SHOWN:
        return ""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class MayNotBeRead(Refused):
    """It is there, or may be, and this user is not let in: never the same as no such file."""

    def __init__(self, error: OSError, path: object) -> None:
        super().__init__(
            f"{error.filename or path} may not be read by this user. Let it be read (`chmod`, and "
            "the folders above it), or give a copy that may."
        )
