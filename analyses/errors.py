"""What the analyses refuse, as sentences that name the thing, the value and the way out."""

from collections.abc import Collection
from difflib import get_close_matches


class Refused(Exception):
    """The input cannot be worked on as it is; the message says what would make it work."""


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question to put after the sentence about an unknown name, or nothing."""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class MayNotBeRead(Refused):
    """It is there, or may be, and this user is not let in: never the same as no such file."""

    def __init__(self, error: OSError, path: object) -> None:
        super().__init__(
            f"{error.filename or path} may not be read by this user. Let it be read (`chmod`, and "
            "the folders above it), or give a copy that may."
        )
