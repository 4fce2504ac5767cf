"""Hostile safetensors and tokenizers: heads that lie, bytes that are missing. All are refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spoil = Callable[[Path], object]
_NORM = "model.norm.weight"


def _length(n_bytes: int) -> Spoil:
    """What the first eight bytes say."""

    def spoil(folder: Path) -> None:
        with (folder / "model.safetensors").open("r+b") as file:
            file.write(n_bytes.to_bytes(8, "little"))

    return spoil


def _head(text: bytes, rest: bytes = b"") -> Spoil:
    def spoil(folder: Path) -> None:
        content = len(text).to_bytes(8, "little") + text + rest
        (folder / "model.safetensors").write_bytes(content)

    return spoil


def _entry(**fields: Any) -> Spoil:
    """One tensor's entry in the head is another."""

    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = path.read_bytes()
        stop = 8 + int.from_bytes(content[:8], "little")
        head = json.loads(content[8:stop])
        head[_NORM] |= {name: make(head[_NORM][name]) for name, make in fields.items()}
        text = json.dumps(head).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[stop:])

    return spoil


def _cut(to: int) -> Spoil:
    return lambda folder: os.truncate(folder / "model.safetensors", to)


def _longer(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"#!/bin/sh\n")


def _hollow(folder: Path) -> None:
    """Terabytes that take no place on the disk."""
    numbers = 2**40
    entry = {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}
    text = json.dumps({_NORM: entry}).encode()
    _head(text)(folder)
    os.truncate(folder / "model.safetensors", 8 + len(text) + 4 * numbers)


def _tokenizer(text: str) -> Spoil:
    return lambda folder: (folder / "tokenizer.json").write_text(text) and None


def _tokenizer_with(**fields: object) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return spoil


_EMPTY = b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
_MANY = b",".join(_EMPTY[1:-1].replace(b'"a"', b'"%d"' % n) for n in range(600_000))
WEIGHTS: dict[str, Spoil] = {
    "an empty file": _cut(0),
    "half a length": _cut(4),
    "a head that breaks off": _cut(100),
    "weights that break off": _cut(9_000),
    "a head without end": _length(2**64 - 1),
    "a head of another size": _length(2**40),
    "a head that is short": _length(100),
    "no head": _length(0),
    "a large head": _head(b" " * (33 * 2**20) + b"{}"),
    "a head of many tensors": _head(b"{" + _MANY + b"}"),
    "a deep head": _head(b'{"a":' * 100_000),
    "a head that is a list": _head(b"[]"),
    "a head of numbers": _head(b'{"a": 1}'),
    "a head that is no text": _head(b"\xff\xfe\x00\x00"),
    "an entry without a type": _head(b'{"a":{"shape":[0],"data_offsets":[0,0]}}'),
    "a type that nobody knows": _entry(dtype=lambda _: "F31"),
    "a type that is a list": _entry(dtype=lambda _: ["F32"]),
    "a type of another size": _entry(dtype=lambda _: "F64"),
    "a negative shape": _entry(shape=lambda shape: [-1, *shape]),
    "a shape beyond 64 bits": _entry(shape=lambda shape: [2**64, *shape]),
    "a shape of truths": _entry(shape=lambda shape: [True, *shape]),
    "a negative place": _entry(data_offsets=lambda at: [at[0] - 10**6, at[1] - 10**6]),
    "a place beyond the end": _entry(data_offsets=lambda at: [at[0] + 10**9, at[1] + 10**9]),
    "a place of another": _entry(data_offsets=lambda at: [0, at[1] - at[0]]),
    "a place of no numbers": _entry(data_offsets=lambda _: ["0", "1"]),
    "three places": _entry(data_offsets=lambda at: [*at, 0]),
    "bytes that no tensor has": _longer,
    "terabytes of nothing": _hollow,
}
TOKENIZERS: dict[str, Spoil] = {
    "no JSON": _tokenizer("GGUF"),
    "a list": _tokenizer("[]"),
    "deep": _tokenizer('{"model":' * 100_000),
    "larger than any": lambda folder: os.truncate(folder / "tokenizer.json", 2**29),
    "a model of no kind": _tokenizer_with(model={"type": "Evil"}),
    "a pattern that is none": _tokenizer_with(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated"}
    ),
    "a table that is none": _tokenizer_with(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "//////8="}
    ),
    "a merge of unknown tokens": _tokenizer_with(
        model={"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}
    ),
}
