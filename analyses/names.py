"""What may be a name: of a model, a study, a person, an analysis, a metric, a tensor, a host.

Names are stored, printed, drawn, put into addresses and read by people, so all have one length and
one alphabet. `checked` is called where a name comes in, and gives it as it is kept; `checked_line`
does the same for what is no name but stands in one line, such as a path or a column of a file.
`alike` says which names a reader would take for the same.
"""

import re
import unicodedata

from analyses.errors import Refused

LONGEST = 200  # characters of a name
LONGEST_HOST = 255
LONGEST_LINE = 1000  # of a path, an address, a column
_SHOWN = 40  # characters of a refused name that the refusal repeats
_MARKS = 4  # accents on one letter: Vietnamese and vocalised Hebrew have fewer

# Blank or invisible although Unicode counts them among letters, marks and symbols.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_CATEGORIES = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Cs": "a byte that is no text in UTF-8",
    "Co": "a character of private use",
    "Cn": "no character of Unicode",
    "Zl": "a line break",
    "Zp": "a line break",
}


class BadName(Refused):
    """Something cannot be called so."""

    def __init__(self, what: str, name: str, why: str) -> None:
        super().__init__(f"The name of the {what} {why}: {_repeated(name)}. Choose another one.")


class BadLine(Refused):
    """A text does not fit where it is kept and shown in one line."""

    def __init__(self, what: str, text: str, why: str) -> None:
        super().__init__(f"The {what} {why}: {_repeated(text)}. Write it otherwise.")


def checked(what: str, name: str, *, most: int = LONGEST) -> str:
    """The name as it is kept, composed (NFC); raises `BadName`.

    It has 1 to `most` characters of any script that can be seen, and single plain spaces inside;
    it begins with no `-`, which would be an option, and with no accent.
    """
    composed = unicodedata.normalize("NFC", name[: 4 * most])
    why = _length(name, composed, most) or _unseen(composed) or _shape(composed)
    if why:
        raise BadName(what, name, why)
    return composed


def checked_line(what: str, text: str, *, most: int = LONGEST_LINE) -> str:
    """The text as it is, which may be empty; raises `BadLine` where it cannot be seen as it is."""
    why = f"has {len(text)} characters, and {most} at the most are kept" if len(text) > most else ""
    if why := why or _unseen(text):
        raise BadLine(what, text, why)
    return text


def alike(name: str) -> str:
    """The same for names that differ in case, width or spelling of the same letters only."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)


def _length(given: str, composed: str, most: int) -> str:
    if not given:
        return "is empty"
    if len(given) > 4 * most or len(composed) > most:
        return f"has {len(given)} characters, and {most} at the most are kept"
    return ""


def _unseen(text: str) -> str:
    for character in text:
        why = _CATEGORIES.get(unicodedata.category(character))
        if why is None and _UNSEEN.match(character):
            why = _CATEGORIES["Cf"]
        if why is None and character.isspace() and character != " ":
            why = "a space that is none of the keyboard"
        if why:
            return f"holds U+{ord(character):04X}, {why}"
    return ""


def _shape(name: str) -> str:
    if name != name.strip(" ") or "  " in name:
        return "begins or ends with a space, or has two in a row"
    if name.startswith("-"):
        return "begins with -, as options do"
    marks = [unicodedata.category(each).startswith("M") for each in name]
    if marks[0] or any(all(marks[at : at + _MARKS + 1]) for at in range(len(marks) - _MARKS)):
        return "has accents without a letter, or too many on one"
    return ""


def _repeated(text: str) -> str:
    return ascii(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
