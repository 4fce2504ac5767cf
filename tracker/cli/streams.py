"""Output streams that never fail on a character, and never let text control the terminal."""

import codecs
import io
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from analyses.shown import plain

_HANDLER = "headbook.another"  # name of the codec error handler

_BAR = re.compile(r"\r|(?:\n|\x1b\[A)+\Z")
# Replacements for characters that an encoding lacks; others lose their accents or become "?".
_REPLACEMENTS = {
    **{"…": "...", "·": "-", "•": "*", "→": "->", "←": "<-", "■": "#", "█": "#"},
    **{"\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "—": "-"},
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "±": "+/-", "Δ": "d", "Σ": "sum", "√": "sqrt"},
    **{"\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'"},
    **{"“": '"', "”": '"', "„": '"', "━": "-", "─": "-", "╸": "-", "╺": "-", "│": "|"},
}


def use_streams() -> None:
    """Make stdout and stderr safe: printing never fails, and no text controls the terminal.

    Characters that cannot be encoded are replaced. Characters that would move the cursor, change
    colours or titles, hide text or reverse it are spelled out, whoever prints them.
    """
    codecs.register_error(_HANDLER, _replace)
    sys.stdout, sys.stderr = _safe(sys.stdout), _safe(sys.stderr, bars=True)


def takes(text: str) -> bool:
    """Whether standard output can encode every character of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def drawn_on(stream: Any) -> Any:
    """The underlying stream, which accepts the escape sequences that rich writes."""
    return stream.stream if isinstance(stream, _Plain) else stream


def _safe(stream: Any, *, bars: bool = False) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=_HANDLER)
    return _Plain(stream, bars=bars)


class _Plain:
    """A stream that writes control characters in visible form."""

    def __init__(self, stream: io.TextIOWrapper, *, bars: bool) -> None:
        """`bars`: libraries draw progress bars on it, and return to the start of the line."""
        self.stream, self._bars = stream, bars
        # Typer bypasses an ASCII stream that has a buffer, and writes UTF-8 to the buffer.
        self._is_ascii = codecs.lookup(stream.encoding).name == "ascii"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            return self.stream.write(text)  # raises TypeError, by which Typer detects text streams
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


def _replace(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler: a replacement for the characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_replacement(char, error.encoding) for char in text), error.end


def _replacement(char: str, encoding: str) -> str:
    decomposed = unicodedata.normalize("NFKD", char)
    for candidate in (_REPLACEMENTS.get(char), decomposed, decomposed[:1]):
        if candidate and _can_encode(candidate, encoding):
            return candidate
    return "?"


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
