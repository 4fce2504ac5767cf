"""How candidates continue a text: after a space, or directly."""

import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

_CLOSING = ".,;:!?)]}%…»\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
# Scripts that are written without spaces between words, by the names of their characters.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ")


class Why(StrEnum):
    WRITTEN = "written"  # the text ends in a space, or a candidate begins with one
    WORDS = "words"  # neither, but words would run together
    DIRECT = "direct"


MEANING: Mapping[Why, str] = {
    Why.WRITTEN: "after a space, as written",
    Why.WORDS: "after a space that is not written, as a word follows a word or its punctuation",
    Why.DIRECT: "directly, without a space",
}


class Joined(NamedTuple):
    """A text that its candidates continue after `joint`, none of which has spaces around it."""

    text: str
    joint: str
    candidates: tuple[str, ...]
    why: Why


def joined(text: str, candidates: Sequence[str]) -> Joined:
    """The text and its candidates, with the space between them in `joint` alone."""
    bare = tuple(each.strip(" ") for each in candidates)
    why = _why(text, candidates)
    joint = "" if why is Why.DIRECT else " "
    return Joined(text.removesuffix(" "), joint, bare, why)


def _why(text: str, candidates: Sequence[str]) -> Why:
    if text.endswith(" ") or any(each.startswith(" ") for each in candidates):
        return Why.WRITTEN
    ends = _spaced_letter(text[-1]) or text[-1] in _CLOSING
    if ends and any(_spaced_letter(each[0]) for each in candidates):
        return Why.WORDS
    return Why.DIRECT


def _spaced_letter(character: str) -> bool:
    """Whether it is a letter of a script that is written with spaces between words."""
    name = unicodedata.name(character, "")
    return character.isalpha() and not name.startswith(_UNSPACED)
