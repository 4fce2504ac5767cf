"""What a model is, as one hash: its config, its tokenizer and every byte of its weights."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analyses.checkpoints.folders import ModelFiles

# Written by the library that saved the model; they change no number.
_INCIDENTAL = {"transformers_version", "_name_or_path"}


def fingerprint(files: ModelFiles, *, remembered: Path | None) -> str:
    """sha256 over the config's meaning and the bytes of the tokenizer, the index and the weights.

    Files are hashed once if there is a folder to remember their hashes in.
    """
    whole = hashlib.sha256(b"headbook model 1\n")
    whole.update(canonical(files.config))
    for path in (files.tokenizer, *([files.index] if files.index else []), *files.weights):
        whole.update(f"\n{path.name} {file_sha256(path, remembered=remembered)}".encode())
    return whole.hexdigest()


def canonical(config: Mapping[str, Any]) -> bytes:
    """The config without what the saving library left in it, keys in order."""
    kept = {name: value for name, value in config.items() if name not in _INCIDENTAL}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def file_sha256(path: Path, *, remembered: Path | None) -> str:
    """The hash of a file's bytes, read again only when its path, size, time or inode changed."""
    if remembered is None:
        return _read_and_hash(path)
    stat = path.stat()
    seen = f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}\n{stat.st_dev}:{stat.st_ino}"
    note = remembered / f"{hashlib.sha256(seen.encode()).hexdigest()}.sha256"
    known = _read_note(note)
    if known is None:
        known = _read_and_hash(path)
        _write_note(note, known)
    return known


def _read_and_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_note(note: Path) -> str | None:
    try:
        known = note.read_text(encoding="ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return known if len(known) == 64 else None


def _write_note(note: Path, digest: str) -> None:
    """Whole or not at all, whoever else writes the same note."""
    note.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=note.parent, prefix=".writing-")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(digest)
    Path(name).replace(note)
