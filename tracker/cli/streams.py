"""What commands print, on terminals and in files that cannot take every character."""

import codecs
import io
import sys
import unicodedata
from typing import Any

_ANOTHER = "headbook.another"  # for the codecs that cannot write a character

# What is printed for a character that a stream cannot take; others lose their accents or are "?".
_INSTEAD = {
    **{"…": "...", "·": "-", "•": "*", "→": "->", "←": "<-", "■": "#", "█": "#"},
    **{"\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "—": "-"},
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "±": "+/-", "Δ": "d", "Σ": "sum", "√": "sqrt"},
    **{"\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'"},
    **{"“": '"', "”": '"', "„": '"', "━": "-", "─": "-", "╸": "-", "╺": "-", "│": "|"},
}


def use_streams() -> None:
    """From now on a print never fails for a character: another stands in its place."""
    codecs.register_error(_ANOTHER, _another)
    sys.stdout, sys.stderr = _able(sys.stdout), _able(sys.stderr)


def takes(text: str) -> bool:
    """Whether standard output can print all of a text as it is."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _able(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=_ANOTHER)
    # Typer writes UTF-8 past a stream that says it takes ASCII, where it finds a buffer.
    return _Ascii(stream) if codecs.lookup(stream.encoding).name == "ascii" else stream


class _Ascii:
    """A stream of ASCII that is only written to as text."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


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
