"""Hostile GGUF files: heads that claim more than there is. All are refused before conversion."""

import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from hostile import Canary
from test_gguf import write_tiny_gguf

Write = Callable[[Path], object]
_U8, _U32, _BOOL, _STRING, _ARRAY, _U64 = 0, 4, 7, 8, 9, 10


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _field(name: str, kind: int, value: bytes) -> bytes:
    return _text(name.encode()) + struct.pack("<I", kind) + value


def _tensor(shape: tuple[int, ...], *, offset: int = 0, dimensions: int | None = None) -> bytes:
    n = len(shape) if dimensions is None else dimensions
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return _text(b"output.weight") + struct.pack("<I", n) + sizes + struct.pack("<IQ", 0, offset)


def _file(
    *fields: bytes,
    tensors: tuple[bytes, ...] = (),
    n_fields: int | None = None,
    n_tensors: int | None = None,
    version: int = 3,
) -> Write:
    counts = (
        len(tensors) if n_tensors is None else n_tensors,
        len(fields) if n_fields is None else n_fields,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts)
    return lambda path: path.write_bytes(head + b"".join((*fields, *tensors))) and None


def _claims(**sizes: int) -> Write:
    """A whole model, of which one number is another."""

    def write(path: Path) -> None:
        write_tiny_gguf(path, layers=2)
        content = path.read_bytes()
        for name, size in sizes.items():
            place = content.index(name.encode()) + len(name) + 4
            content = content[:place] + struct.pack("<I", size) + content[place + 4 :]
        path.write_bytes(content)

    return write


def _cut(to: int) -> Write:
    def write(path: Path) -> None:
        write_tiny_gguf(path, layers=2)
        path.write_bytes(path.read_bytes()[:to])

    return write


def _list(kind: int, n: int, value: bytes = b"") -> bytes:
    return _field("tokenizer.ggml.tokens", _ARRAY, struct.pack("<IQ", kind, n) + value)


FILES: Mapping[str, Write] = {
    "nothing": lambda path: path.write_bytes(b"") and None,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Canary(path.parent))) and None,
    "a version that nobody knows": _file(version=99),
    "the other order of bytes": _file(version=0x03000000),
    "metadata without end": _file(n_fields=2**63),
    "more metadata than there are": _file(n_fields=3_000_000),
    "tensors without end": _file(n_tensors=2**60),
    "more tensors than there are": _file(n_tensors=90_000),
    "a text without end": _file(_field("general.name", _STRING, struct.pack("<Q", 2**63))),
    "a text that breaks off": _file(_field("general.name", _STRING, struct.pack("<Q", 10**6))),
    "a name without end": _file(struct.pack("<Q", 2**62)),
    "a name of no text": _file(_text(b"\xff\xfe") + struct.pack("<IB", _U8, 0)),
    "a list without end": _file(_list(_U8, 2**50)),
    "a list that breaks off": _file(_list(_U64, 3_000_000)),
    "texts without end": _file(_list(_STRING, 2**40)),
    "a long list": _file(_list(_U8, 20_000_000, bytes(20_000_000))),
    "many texts": _file(_list(_STRING, 5_000_000, bytes(40_000_000))),
    "a list of lists": _file(_list(_ARRAY, 1, struct.pack("<IQ", _ARRAY, 1) * 1000)),
    "a value of no kind": _file(_field("general.name", 77, b"1234")),
    "lists of no kind": _file(_list(77, 10)),
    "many dimensions": _file(tensors=(_tensor((), dimensions=2**31),)),
    "a tensor beyond the end": _file(tensors=(_tensor((2, 2), offset=2**60),)),
    "a tensor without end": _file(tensors=(_tensor((2**32, 2**31)),)),
    "a head that breaks off": _cut(200),
    "weights that break off": _cut(4_000),
    "many layers": _claims(**{"llama.block_count": 100_000}),
    "many heads": _claims(**{"llama.attention.head_count": 2**31}),
    "a wide model": _claims(**{"llama.embedding_length": 2**26}),
    "a wide layer": _claims(**{"llama.feed_forward_length": 2**27}),
    "a large vocabulary": _claims(**{"llama.vocab_size": 2**26}),
}
