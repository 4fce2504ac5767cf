"""The header of a GGUF file, checked before a library reads it: every length must fit the file."""

import re
import struct
from math import prod
from pathlib import Path
from typing import BinaryIO

from analyses.bounds import GGUF_ENTRIES, GGUF_TENSORS, GGUF_TEXT_BYTES, check
from analyses.errors import Refused
from analyses.regular_files import opened, size_of

_STRING, _ARRAY = 8, 9
_FORMATS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIifBQqd", strict=True))
_DIMENSIONS = 4
_MOST = (
    (re.compile(r"\.block_count$"), 1_000),
    (re.compile(r"head_count(_kv)?$|expert_count$"), 2**14),
    (re.compile(r"(_length|vocab_size|dimension_count)$"), 2**27),
)


class BrokenGguf(Refused):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read as GGUF: {reason}. Copy or download the file again."
        )


def shapes(copy: Path, path: Path) -> list[tuple[int, ...]]:
    """The shapes of the tensors in `copy`.

    Raises `BrokenGguf` or `TooMuch`, which name the original file, `path`.
    """
    with opened(copy) as file:
        try:
            return _Header(path, file).shapes()
        except (struct.error, UnicodeDecodeError) as error:
            raise BrokenGguf(path, f"its header is truncated ({error})") from None


class _Header:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file, self._size = path, file, size_of(file)
        self._entries = 0  # of all lists together

    def shapes(self) -> list[tuple[int, ...]]:
        if self._file.read(4) != b"GGUF":
            raise BrokenGguf(self._path, "it does not start with the bytes GGUF")
        version, n_tensors, n_fields = self._numbers("IQQ")
        if version not in (2, 3):
            raise BrokenGguf(self._path, f"its version is {version}, and only 2 and 3 can be read")
        check(self._path, "its number of tensors", n_tensors, GGUF_TENSORS)
        check(self._path, "its number of metadata entries", n_fields, GGUF_ENTRIES)
        for _ in range(n_fields):
            name = self._text()
            self._value(name, *self._numbers("I"))
        return [self._tensor() for _ in range(n_tensors)]

    def _value(self, name: str, kind: int) -> None:
        if kind == _STRING:
            self._text()
        elif kind == _ARRAY:
            self._list(name)
        else:
            (value,) = self._numbers(self._format(kind))
            for pattern, most in _MOST:
                if pattern.search(name):
                    check(self._path, name, int(value), most)

    def _list(self, name: str) -> None:
        kind, n = self._numbers("IQ")
        if kind == _ARRAY:
            raise BrokenGguf(self._path, f"{name} is a list of lists")
        self._entries += n
        check(self._path, "the length of its lists", self._entries, GGUF_ENTRIES)
        if kind == _STRING:
            for _ in range(n):
                self._text()
        else:
            self._skip(n * struct.calcsize(self._format(kind)))

    def _tensor(self) -> tuple[int, ...]:
        name = self._text()
        (n_dimensions,) = self._numbers("I")
        if n_dimensions > _DIMENSIONS:
            raise BrokenGguf(self._path, f"{name[:80]} has {n_dimensions} dimensions")
        shape = self._numbers(f"{n_dimensions}Q")
        _, offset = self._numbers("IQ")
        # Every type takes at least one bit per number.
        if offset > self._size or prod(shape) > 8 * self._size:
            raise BrokenGguf(self._path, f"{name[:80]} of shape {shape} does not fit in the file")
        return shape

    def _format(self, kind: int) -> str:
        if kind not in _FORMATS:
            raise BrokenGguf(self._path, f"it has a value of unknown type {kind}")
        return _FORMATS[kind]

    def _numbers(self, form: str) -> tuple[int, ...]:
        whole = struct.Struct(f"<{form}")
        return whole.unpack(self._file.read(whole.size))

    def _text(self) -> str:
        (n_bytes,) = self._numbers("Q")
        check(self._path, "the length of a string in it", n_bytes, GGUF_TEXT_BYTES)
        text = self._file.read(n_bytes)
        if len(text) < n_bytes:
            raise BrokenGguf(self._path, "a string in it is truncated")
        return text.decode("utf-8")

    def _skip(self, n_bytes: int) -> None:
        if self._file.seek(n_bytes, 1) > self._size:
            raise BrokenGguf(self._path, "a list in it is truncated")
