"""What the heads of safetensors files say of their tensors; no weight is read."""

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

_LENGTH = 8  # bytes that say how long the head is, before it
SIZES = {  # bytes of one number, by the names that safetensors has for its types
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
            f"The tensor {name} lies in {one} and in {other.name}, so it is unclear which one "
            f"counts. Save the model again."
        )


@dataclass(frozen=True)
class StoredTensor:
    dtype: str  # as safetensors writes it: F32, BF16, F8_E4M3, I8 …
    shape: tuple[int, ...]
    file: Path
    start: int = 0  # where its bytes begin in the file
    n_bytes: int = 0


def stored_tensors(files: ModelFiles) -> Mapping[str, StoredTensor]:
    """The tensors of all files by name; raises `BrokenWeights` and `StoredTwice`."""
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
    """A file's tensors in the order of their bytes, which follow the head without a gap."""
    return tensors(path, head(path, file), size_of(file))


def head(path: Path, file: BinaryIO) -> bytes:
    """What stands before the tensors, its length first."""
    size, length = size_of(file), file.read(_LENGTH)
    n_bytes = int.from_bytes(length, "little")
    if not 2 <= n_bytes <= size - _LENGTH:
        raise BrokenWeights(path, f"its head would be {n_bytes} bytes of a file of {size}")
    bounds.check(path, "the length of its head in bytes", n_bytes, bounds.HEADER_BYTES)
    return length + file.read(n_bytes)


def tensors(path: Path, head: bytes, size: int) -> Mapping[str, StoredTensor]:
    """What a head says of a file of that size."""
    entries = _json(path, head[_LENGTH:])
    entries.pop("__metadata__", None)
    bounds.check(path, "its number of tensors", len(entries), bounds.TENSORS)
    found = {name: _tensor(path, name, said, len(head)) for name, said in entries.items()}
    in_order = dict(sorted(found.items(), key=lambda each: (each[1].start, each[1].n_bytes)))
    _check_without_gaps(path, in_order, len(head), size)
    return in_order


def _json(path: Path, head: bytes) -> dict[str, Any]:
    try:
        said = json.loads(head.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BrokenWeights(path, f"its head is not JSON ({error})") from None
    if not isinstance(said, dict):
        raise BrokenWeights(path, "its head is not a JSON object")
    return said


def _tensor(path: Path, name: str, said: Any, begin: int) -> StoredTensor:
    try:
        dtype, shape = said["dtype"], tuple(said["shape"])
        start, stop = said["data_offsets"]
        n_bytes = stop - start
        whole = all(type(each) is int and each >= 0 for each in (*shape, start, n_bytes))
        fits = whole and prod(shape) * SIZES[dtype] == n_bytes
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise BrokenWeights(path, f"it says {str(said)[:120]} of {name[:120]}")
    return StoredTensor(dtype, shape, path, begin + start, n_bytes)


def _check_without_gaps(
    path: Path, tensors: Mapping[str, StoredTensor], begin: int, size: int
) -> None:
    ends = [begin, *(each.start + each.n_bytes for each in tensors.values())]
    starts = [*(each.start for each in tensors.values()), size]
    if ends != starts:
        raise BrokenWeights(path, "its tensors overlap, or leave bytes between them or at its end")
