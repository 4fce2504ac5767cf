"""Reproducible random numbers: the same on every machine, in every process and Python version."""

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
    """`content_hash` of the list of these values, computed without the list in memory."""
    digest = sha256(b"[")
    for number, value in enumerate(values):
        digest.update((b"," if number else b"") + _canonical(value))
    digest.update(b"]")
    return digest.hexdigest()


def _canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def rank(*key: str | int) -> bytes:
    """A pseudorandom sort key."""
    return sha256(_bytes(key)).digest()


class Stream:
    """Pseudorandom numbers from sha256 of key and counter; equal keys give equal numbers."""

    def __init__(self, *key: str | int) -> None:
        self._key = _bytes(key)
        self._drawn = 0
        self._left = b""

    def below(self, n: int) -> int:
        """A number from 0 to n - 1, uniform to within n / 2^64 (2^256 for a large n)."""
        if n > _SMALL:
            return int.from_bytes(self._digest(), "big") * n >> 256
        if not self._left:
            self._left = self._digest()
        block, self._left = self._left[:_BLOCK], self._left[_BLOCK:]
        return int.from_bytes(block, "big") * n >> 64

    def choice(self, values: Sequence[Value]) -> Value:
        return values[self.below(len(values))]

    def sample(self, values: Sequence[Value], k: int) -> list[Value]:
        """`k` of the values without replacement, in a random order."""
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
    # JSON, since a repr depends on which characters a Python version considers printable.
    return json.dumps(key).encode("ascii")
