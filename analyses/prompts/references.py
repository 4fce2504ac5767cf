"""Options that name other options of their question: `All of the above`, `Both A and B`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

_HOW_MANY = r"(?:all|none|any|both|neither|either|each|some|two|only one|more than one)"
_WHAT = r"(?:options?|choices?|answers?|alternatives?)"
_THESE = rf"(?:{_WHAT}|statements?|responses?|ones?)"
# Possessive quantifiers (`++`, `*+`) prevent backtracking, which takes minutes on many spaces.
_END = r"(?:\s++(?:is|are|was|were|appl(?:y|ies))\b.*+)?\W*+"
_ANY, _CAPITAL = (rf"\(?[{letters}]\)?\.?" for letters in ("A-Ja-j", "A-J"))
_AND = r"\s*+(?:,\s*+)?(?:and|or|nor|&|\+|and/or|but not)\s*+"


def _several(letter: str) -> str:
    return rf"{letter}(?:\s*+,\s*+{letter})*{_AND}{letter}"


# By position, whatever the labels are.
_BY_PLACE = re.compile(
    r"(?!(?:each|any|some)\s+others?\W*$)"  # words of their own, which name no choice
    rf"(?:{_HOW_MANY}\s+(?:of\s+)?(?:"
    rf"(?:the\s+)?(?:{_THESE}\s+)?(?:above|preceding|previous|following|others?)(?:\s+{_THESE})?"
    rf"|(?:these|those|them)(?:\s+{_THESE})?"
    rf"|(?:the\s+)?{_WHAT}))" + _END,
    re.IGNORECASE,
)
# By letter: bare capitals, or any letters with words such as "both" or "options".
_BY_LETTER = re.compile(
    rf"(?:(?:both|either|neither|{_HOW_MANY}\s+of|{_WHAT})\s+{_several(_ANY)}|only\s+{_ANY}"
    rf"|(?:all|none|any)\s+(?:of\s+the\s+above\s+)?(?:except|but)\s+(?:for\s+)?{_ANY})"
    rf"(?:\s+only)?{_END}",
    re.IGNORECASE,
)
_LETTERS_ALONE = re.compile(rf"(?:{_several(_CAPITAL)}(?:\s+only)?|{_CAPITAL}\s+only){_END}")
_ONE_LETTER = re.compile(r"(?<![\w'])[A-Ja-j](?![\w'])")


@dataclass(frozen=True)
class Order:
    """Options that must keep their order, with the answer at `place`; some may name `letters`."""

    place: int
    letters: bool


def order_of(choices: Sequence[str], place: int) -> Order | None:
    """The order that choices must keep because one names others; None if none does."""
    letters = any(_names_letters(each.strip(), len(choices)) for each in choices)
    if letters or any(_BY_PLACE.fullmatch(each.strip()) for each in choices):
        return Order(place, letters)
    return None


def _names_letters(option: str, k: int) -> bool:
    """Whether an option names choices by letters, all of which exist."""
    if not (_BY_LETTER.fullmatch(option) or _LETTERS_ALONE.fullmatch(option)):
        return False
    return all(each.upper() in ascii_uppercase[:k] for each in _ONE_LETTER.findall(option))
