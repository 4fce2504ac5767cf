"""Numbers that look random and are the same on every machine, in every process and Python."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

_BLOCK = 8  # bytes of one small number
_SMALL = 2**32

Value = TypeVar("Value")


def content_hash(value: object) -> str:
    """sha256 over the canonical JSON of plain values: the same on every machine."""
    return sha256(_canonical(value)).hexdigest()


def content_hash_of_all(values: Iterable[object]) -> str:
    """The hash of the list of these values, without the list or its text in memory."""
    found = sha256(b"[")
    for number, value in enumerate(values):
        found.update((b"," if number else b"") + _canonical(value))
    found.update(b"]")
    return found.hexdigest()


def _canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def rank(*key: str | int) -> bytes:
    """A sort key that looks random."""
    return sha256(_bytes(key)).digest()


class Stream:
    """sha256 of key and counter, read as numbers; equal keys (str and int) give equal numbers."""

    def __init__(self, *key: str | int) -> None:
        self._key = _bytes(key)
        self._drawn = 0
        self._left = b""

    def below(self, n: int) -> int:
        """A number from 0 to n - 1, off uniform by less than n / 2^64 (2^256 for a large n)."""
        if n > _SMALL:
            return int.from_bytes(self._digest(), "big") * n >> 256
        if not self._left:
            self._left = self._digest()
        block, self._left = self._left[:_BLOCK], self._left[_BLOCK:]
        return int.from_bytes(block, "big") * n >> 64

    def choice(self, values: Sequence[Value]) -> Value:
        return values[self.below(len(values))]

    def sample(self, values: Sequence[Value], k: int) -> list[Value]:
        """`k` of the values, none twice, in a random order."""
        pool = list(values)
        for i in range(k):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def shuffled(self, values: Sequence[Value]) -> list[Value]:
        return self.sample(values, len(values))

    def _digest(self) -> bytes:
        self._drawn += 1
        return sha256(self._key + b"#%d" % self._drawn).digest()


def _bytes(key: tuple[str | int, ...]) -> bytes:
    # JSON: a repr depends on which characters a Python holds for printable.
    return json.dumps(key).encode("ascii")
