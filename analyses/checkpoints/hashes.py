"""Hashes of files and of the tensors in them, cached for as long as a file is unchanged."""

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
    """sha256 hashes, in hex. A tensor's hash covers its dtype and shape as well as its bytes."""

    whole: str
    tensors: Mapping[str, str] = field(default_factory=dict)  # of a safetensors file


def of_file(path: Path, *, remembered: Path | None) -> Hashes:
    """The hashes of a file, from the cache `remembered` if the file is unchanged.

    Raises `ChangedWhileRead` if the file changes meanwhile.
    """
    with opened(path) as file:
        seen = identity(path, file)
        cached = remembered and _read_note(_note(remembered, seen), seen)
        if cached:
            return cached
        hashes = _read_and_hash(path, file)
        if identity(path, file) != seen:
            raise ChangedWhileRead(path)
    if remembered:
        _write_note(_note(remembered, seen), seen, hashes)
    return hashes


def known(path: Path, *, remembered: Path) -> Hashes | None:
    """The cached hashes of the file as it is now; None if there are none."""
    with opened(path) as file:
        seen = identity(path, file)
    return _read_note(_note(remembered, seen), seen)


def file_sha256(path: Path, *, remembered: Path | None) -> str:
    """The sha256 of a file's bytes."""
    return of_file(path, remembered=remembered).whole


def copied(path: Path, copy: Path) -> str:
    """Copy a file; the sha256 of the bytes that were copied, even if the file changes later."""
    whole = hashlib.sha256()
    with opened(path) as file, copy.open("xb") as written:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            written.write(chunk)
    return whole.hexdigest()


def forget(path: Path, *, remembered: Path | None) -> None:
    """Delete the cached hashes of a file, so that it is read again next time."""
    if remembered:
        with opened(path) as file:
            _note(remembered, identity(path, file)).unlink(missing_ok=True)


def tensor_hash(tensor: StoredTensor) -> Any:
    """A sha256 over the tensor's dtype and shape, still to be updated with its bytes."""
    return hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}\n".encode())


def _read_and_hash(path: Path, file: BinaryIO) -> Hashes:
    """Hash a file and its tensors in one pass."""
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
    """The tensors that the file's header lists; the header is added to the hash `whole`."""
    if path.suffix != ".safetensors":
        return {}
    header = b""
    try:
        header = headers.header(path, file)
        return headers.tensors(path, header, size_of(file))
    except (BrokenWeights, TooMuch):  # reported when the tensors are read; the bytes have a hash
        file.seek(len(header))
        return {}
    finally:
        whole.update(header)


def _chunks(file: BinaryIO, n_bytes: int) -> Iterator[bytes]:
    while n_bytes > 0 and (chunk := file.read(min(_CHUNK, n_bytes))):
        n_bytes -= len(chunk)
        yield chunk


def _note(remembered: Path, seen: str) -> Path:
    return remembered / f"{hashlib.sha256(seen.encode()).hexdigest()}.json"


def _read_note(note: Path, seen: str) -> Hashes | None:
    """The hashes of exactly this file; None if another user could have written the note."""
    try:
        handle = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            fields = json.loads(file.read())
        return Hashes(fields["whole"], fields["tensors"]) if fields["seen"] == seen else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write_note(note: Path, seen: str, hashes: Hashes) -> None:
    """Write the note atomically: other processes may write the same one."""
    for folder in (note.parent.parent, note.parent):  # private, whatever the umask
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=note.parent, prefix=".writing-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"seen": seen, "whole": hashes.whole, "tensors": hashes.tensors}, file)
    Path(name).replace(note)
