"""What the analyses refuse, as sentences that name the thing, the value and the way out."""

from collections.abc import Collection
from difflib import get_close_matches


class Refused(Exception):
    """The input cannot be worked on as it is; the message says what would make it work."""


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question to put after the sentence about an unknown name, or nothing."""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
