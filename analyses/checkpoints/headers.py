"""The tensors that the headers of safetensors files list; no weights are read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from analyses import bounds
from analyses.checkpoints.folders import ModelFiles
from analyses.errors import Refused
from analyses.regular_files import opened, size_of

_LENGTH = 8  # bytes before the header that hold its length
SIZES = {  # bytes per number, by safetensors dtype
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 1),
}


class BrokenWeights(Refused):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read as safetensors: {reason}. Copy or download the file again."
        )


class StoredTwice(Refused):
    def __init__(self, name: str, one: Path, other: Path) -> None:
        super().__init__(
            f"The tensor {name} is in both {one} and {other.name}, so it is unclear which one to "
            f"use. Save the model again."
        )


@dataclass(frozen=True)
class StoredTensor:
    dtype: str  # as safetensors writes it: F32, BF16, F8_E4M3, I8 …
    shape: tuple[int, ...]
    file: Path
    start: int = 0  # offset of its bytes in the file
    n_bytes: int = 0


def stored_tensors(files: ModelFiles) -> Mapping[str, StoredTensor]:
    """The tensors of all files, by name. Raises `BrokenWeights` or `StoredTwice`."""
    found: dict[str, StoredTensor] = {}
    for path in files.weights:
        with opened(path) as file:
            of_file = read(path, file)
        for name, tensor in of_file.items():
            if name in found:
                raise StoredTwice(name, found[name].file, path)
            found[name] = tensor
    return found


def read(path: Path, file: BinaryIO) -> Mapping[str, StoredTensor]:
    """A file's tensors in the order of their bytes, which follow the header without gaps."""
    return tensors(path, header(path, file), size_of(file))


def header(path: Path, file: BinaryIO) -> bytes:
    """The bytes before the tensors: the header's length, and the header."""
    size, length = size_of(file), file.read(_LENGTH)
    n_bytes = int.from_bytes(length, "little")
    if not 2 <= n_bytes <= size - _LENGTH:
        raise BrokenWeights(path, f"its header would be {n_bytes} bytes, in a file of {size}")
    bounds.check(path, "the length of its header in bytes", n_bytes, bounds.HEADER_BYTES)
    return length + file.read(n_bytes)


def tensors(path: Path, header: bytes, size: int) -> Mapping[str, StoredTensor]:
    """The tensors that a header lists, of a file of `size` bytes. Raises `BrokenWeights`."""
    entries = _json(path, header[_LENGTH:])
    entries.pop("__metadata__", None)
    bounds.check(path, "its number of tensors", len(entries), bounds.TENSORS)
    found = {name: _tensor(path, name, entry, len(header)) for name, entry in entries.items()}
    in_order = dict(sorted(found.items(), key=lambda each: (each[1].start, each[1].n_bytes)))
    _check_without_gaps(path, in_order, len(header), size)
    return in_order


def _json(path: Path, header: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(header.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BrokenWeights(path, f"its header is not JSON ({error})") from None
    if not isinstance(entries, dict):
        raise BrokenWeights(path, "its header is not a JSON object")
    return entries


def _tensor(path: Path, name: str, entry: Any, begin: int) -> StoredTensor:
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        start, stop = entry["data_offsets"]
        n_bytes = stop - start
        whole = all(type(each) is int and each >= 0 for each in (*shape, start, n_bytes))
        fits = whole and prod(shape) * SIZES[dtype] == n_bytes
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise BrokenWeights(path, f"its entry for {name[:120]} is {str(entry)[:120]}")
    return StoredTensor(dtype, shape, path, begin + start, n_bytes)


def _check_without_gaps(
    path: Path, tensors: Mapping[str, StoredTensor], begin: int, size: int
) -> None:
    ends = [begin, *(each.start + each.n_bytes for each in tensors.values())]
    starts = [*(each.start for each in tensors.values()), size]
    if ends != starts:
        raise BrokenWeights(path, "its tensors overlap, or leave gaps between them or at its end")
