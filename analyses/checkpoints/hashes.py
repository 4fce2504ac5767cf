"""Hashes of files and of the tensors in them, remembered as long as the files stay as they are."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from analyses.bounds import TooMuch
from analyses.checkpoints import headers
from analyses.checkpoints.headers import BrokenWeights, StoredTensor
from analyses.regular_files import ChangedWhileRead, identity, opened, size_of

_CHUNK = 2**20


@dataclass(frozen=True)
class Hashes:
    """All sha256. A tensor's says of which type and shape its bytes are, so nothing else does."""

    whole: str
    tensors: Mapping[str, str] = field(default_factory=dict)  # of a safetensors file


def of_file(path: Path, *, remembered: Path | None) -> Hashes:
    """The hashes of a file's bytes, read again only where it is another file or was written to."""
    with opened(path) as file:
        seen = identity(path, file)
        there = remembered and _read_note(_note(remembered, seen), seen)
        if there:
            return there
        found = _read_and_hash(path, file)
        if identity(path, file) != seen:
            raise ChangedWhileRead(path)
    if remembered:
        _write_note(_note(remembered, seen), seen, found)
    return found


def known(path: Path, *, remembered: Path) -> Hashes | None:
    """The hashes that are remembered of the file as it is."""
    with opened(path) as file:
        seen = identity(path, file)
    return _read_note(_note(remembered, seen), seen)


def file_sha256(path: Path, *, remembered: Path | None) -> str:
    """The hash of all bytes of a file."""
    return of_file(path, remembered=remembered).whole


def copied(path: Path, copy: Path) -> str:
    """The hash of the bytes that are in the copy now, whatever becomes of the file."""
    whole = hashlib.sha256()
    with opened(path) as file, copy.open("xb") as written:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            written.write(chunk)
    return whole.hexdigest()


def forget(path: Path, *, remembered: Path | None) -> None:
    """The file's bytes are read again next time, whatever its times say."""
    if remembered:
        with opened(path) as file:
            _note(remembered, identity(path, file)).unlink(missing_ok=True)


def tensor_hash(tensor: StoredTensor) -> Any:
    """A hash to which the tensor's bytes are still to be added."""
    return hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}\n".encode())


def _read_and_hash(path: Path, file: BinaryIO) -> Hashes:
    """Every byte is read once."""
    whole, of_tensors = hashlib.sha256(), {}
    for name, tensor in _stored(path, file, whole).items():
        own = tensor_hash(tensor)
        for chunk in _chunks(file, tensor.n_bytes):
            whole.update(chunk)
            own.update(chunk)
        of_tensors[name] = own.hexdigest()
    for chunk in _chunks(file, size_of(file)):
        whole.update(chunk)
    return Hashes(whole.hexdigest(), of_tensors)


def _stored(path: Path, file: BinaryIO, whole: Any) -> Mapping[str, StoredTensor]:
    """The tensors that the file says it has, its head added to `whole`."""
    if path.suffix != ".safetensors":
        return {}
    head = b""
    try:
        head = headers.head(path, file)
        return headers.tensors(path, head, size_of(file))
    except (BrokenWeights, TooMuch):  # told by whoever wants its tensors; its bytes have a hash
        file.seek(len(head))
        return {}
    finally:
        whole.update(head)


def _chunks(file: BinaryIO, n_bytes: int) -> Iterator[bytes]:
    while n_bytes > 0 and (chunk := file.read(min(_CHUNK, n_bytes))):
        n_bytes -= len(chunk)
        yield chunk


def _note(remembered: Path, seen: str) -> Path:
    return remembered / f"{hashlib.sha256(seen.encode()).hexdigest()}.json"


def _read_note(note: Path, seen: str) -> Hashes | None:
    """What was found of exactly this file; nothing that another user could have written."""
    try:
        handle = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return None
            said = json.loads(file.read())
        return Hashes(said["whole"], said["tensors"]) if said["seen"] == seen else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write_note(note: Path, seen: str, found: Hashes) -> None:
    """Whole or not at all, whoever else writes the same note."""
    for folder in (note.parent.parent, note.parent):  # the user's own, whatever the umask
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=note.parent, prefix=".writing-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"seen": seen, "whole": found.whole, "tensors": found.tensors}, file)
    Path(name).replace(note)
