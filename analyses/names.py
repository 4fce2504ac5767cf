"""Validates names: of models, studies, people, analyses, metrics, tensors and hosts.

Names are stored, printed, drawn and put into URLs, so all have the same maximum length and
character set. `checked` validates and normalises a name where it enters the system; `checked_line`
does the same for other text of one line, such as a path or a column of a file. `alike` gives a key
that is equal for names that a reader would confuse.
"""

import re
import unicodedata

from analyses.errors import Refused

LONGEST = 200  # characters of a name
LONGEST_HOST = 255
LONGEST_LINE = 1000  # of a path, a URL, a column
_SHOWN = 40  # characters of an invalid name that the message repeats
_MARKS = 4  # accents on one letter: Vietnamese and vocalised Hebrew have fewer

# Blank or invisible although Unicode classifies them as letters, marks or symbols.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_CATEGORIES = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Cs": "a byte that is not valid UTF-8",
    "Co": "a private-use character",
    "Cn": "an unassigned code point",
    "Zl": "a line break",
    "Zp": "a line break",
}


class BadName(Refused):
    """A name is not valid."""

    def __init__(self, what: str, name: str, why: str) -> None:
        super().__init__(f"The name of the {what} {why}: {_repeated(name)}. Choose another name.")


class BadLine(Refused):
    """A text is too long or cannot be shown in one line."""

    def __init__(self, what: str, text: str, why: str) -> None:
        super().__init__(f"The {what} {why}: {_repeated(text)}. Change it.")


def checked(what: str, name: str, *, most: int = LONGEST) -> str:
    """The name, normalised (NFC). Raises `BadName`.

    A name has 1 to `most` visible characters of any script, and single plain spaces between them;
    it does not start with `-`, which would make it an option, or with a combining mark.
    """
    composed = unicodedata.normalize("NFC", name[: 4 * most])
    why = _length(name, composed, most) or _unseen(composed) or _shape(composed)
    if why:
        raise BadName(what, name, why)
    return composed


def checked_line(what: str, text: str, *, most: int = LONGEST_LINE) -> str:
    """The text, unchanged; may be empty. Raises `BadLine` if it is too long or not all visible."""
    why = f"has {len(text)} characters, and the maximum is {most}" if len(text) > most else ""
    if why := why or _unseen(text):
        raise BadLine(what, text, why)
    return text


def alike(name: str) -> str:
    """A key that is equal for names that differ only in case, width or encoding of a letter."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)


def _length(name: str, composed: str, most: int) -> str:
    if not name:
        return "is empty"
    if len(name) > 4 * most or len(composed) > most:
        return f"has {len(name)} characters, and the maximum is {most}"
    return ""


def _unseen(text: str) -> str:
    for character in text:
        why = _CATEGORIES.get(unicodedata.category(character))
        if why is None and _UNSEEN.match(character):
            why = _CATEGORIES["Cf"]
        if why is None and character.isspace() and character != " ":
            why = "a space other than the plain one"
        if why:
            return f"contains U+{ord(character):04X}, {why}"
    return ""


def _shape(name: str) -> str:
    if name != name.strip(" ") or "  " in name:
        return "starts or ends with a space, or has two in a row"
    if name.startswith("-"):
        return "starts with -, like an option"
    marks = [unicodedata.category(character).startswith("M") for character in name]
    if marks[0] or any(all(marks[at : at + _MARKS + 1]) for at in range(len(marks) - _MARKS)):
        return "has accents without a letter, or too many on one"
    return ""


def _repeated(text: str) -> str:
    return ascii(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
