"""What commands print, on terminals and in files that cannot take every character."""

import codecs
import io
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from analyses.shown import plain

_ANOTHER = "headbook.another"  # for the codecs that cannot write a character

_BAR = re.compile(r"\r|(?:\n|\x1b\[A)+\Z")
# What is printed for a character that a stream cannot take; others lose their accents or are "?".
_INSTEAD = {
    **{"…": "...", "·": "-", "•": "*", "→": "->", "←": "<-", "■": "#", "█": "#"},
    **{"\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "—": "-"},
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "±": "+/-", "Δ": "d", "Σ": "sum", "√": "sqrt"},
    **{"\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'"},
    **{"“": '"', "”": '"', "„": '"', "━": "-", "─": "-", "╸": "-", "╺": "-", "│": "|"},
}


def use_streams() -> None:
    """From now on a print never fails for a character, and no text steers a terminal.

    What cannot be written has another in its place; what would move the cursor, change colours or
    titles, hide text or turn its order is spelled, whoever prints it.
    """
    codecs.register_error(_ANOTHER, _another)
    sys.stdout, sys.stderr = _able(sys.stdout), _able(sys.stderr, bars=True)


def takes(text: str) -> bool:
    """Whether standard output can print all of a text as it is."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def drawn_on(stream: Any) -> Any:
    """The stream that takes colours, and what else rich draws with."""
    return stream.stream if isinstance(stream, _Plain) else stream


def _able(stream: Any, *, bars: bool = False) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=_ANOTHER)
    return _Plain(stream, bars=bars)


class _Plain:
    """A stream on which every character of a text is seen."""

    def __init__(self, stream: io.TextIOWrapper, *, bars: bool) -> None:
        """`bars` says that libraries draw progress there: they begin their line again."""
        self.stream, self._bars = stream, bars
        # Typer writes UTF-8 past a stream that says it takes ASCII, where it finds a buffer.
        self._is_ascii = codecs.lookup(stream.encoding).name == "ascii"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            return self.stream.write(text)  # which raises: so Typer finds that it takes text
        bar = _BAR.match(text) if self._bars else None
        drawn = bar[0] if bar else ""
        self.stream.write(drawn + plain(text[len(drawn) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer" and self._is_ascii:
            raise AttributeError(name)
        return getattr(self.stream, name)


def _another(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_for(each, error.encoding) for each in text), error.end


def _for(character: str, encoding: str) -> str:
    plain = unicodedata.normalize("NFKD", character)
    for each in (_INSTEAD.get(character), plain, plain[:1]):
        if each and _fits(each, encoding):
            return each
    return "?"


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
