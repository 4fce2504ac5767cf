"""The contents of a model's files, verified against the hashes in its fingerprint."""

import hashlib
import os
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analyses import bounds
from analyses.checkpoints import fingerprints, hashes, headers
from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.hashes import Hashes
from analyses.checkpoints.headers import StoredTensor
from analyses.errors import Refused
from analyses.regular_files import ChangedWhileRead, content, opened


class Changed(Refused):
    def __init__(self, folder: Path, expected: str, found: str) -> None:
        super().__init__(
            f"The model in {folder} has changed since it was submitted: its fingerprint was "
            f"{expected[:12]} and is now {found[:12]}. Restore the files, or submit the run again."
        )


class OtherBytes(Refused):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path} has changed since it was hashed: the bytes of the tensor {name} differ. "
            f"Restore the file, or add the model again, and do not write to it while it is read."
        )


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Config and tokenizer as read; tensors are read on demand and checked against their hashes."""

    files: ModelFiles
    tokenizer: bytes = field(repr=False)
    stored: Mapping[str, StoredTensor] = field(repr=False)
    tensor_hashes: Mapping[str, str] = field(repr=False)
    remembered: Path | None
    fingerprint: str

    @property
    def config(self) -> bytes:
        """The canonical config.json, which the fingerprint covers."""
        return fingerprints.canonical(self.files.config)

    def tensor(self, name: str) -> bytearray:
        """A tensor's bytes, not mapped from the file. Raises `OtherBytes` if they have changed."""
        stored = self.stored[name]
        digest = hashes.tensor_hash(stored)
        try:
            content = _bytes(stored)
            digest.update(content)
            if digest.hexdigest() == self.tensor_hashes[name]:
                return content
            hashes.forget(stored.file, remembered=self.remembered)
        except FileNotFoundError:
            pass
        raise OtherBytes(stored.file, name)


def of(files: ModelFiles, *, remembered: Path | None, expect: str | None = None) -> Contents:
    """A model's contents and fingerprint; `remembered` is the folder that caches weight hashes.

    Raises `Changed` if `expect` is given and differs from the fingerprint.
    """
    text = content(files.tokenizer, most=bounds.TOKENIZER_BYTES)
    stored = headers.stored_tensors(files)
    weights = {path: hashes.of_file(path, remembered=remembered) for path in files.weights}
    for path, found in weights.items():
        if found.tensors.keys() != {name for name, each in stored.items() if each.file == path}:
            raise ChangedWhileRead(path)
    fingerprint = _fingerprint(files, text, weights)
    if expect not in (None, fingerprint):
        raise Changed(files.folder, str(expect), fingerprint)
    return Contents(
        files=files,
        tokenizer=text,
        stored=stored,
        tensor_hashes=dict(ChainMap(*(dict(found.tensors) for found in weights.values()))),
        remembered=remembered,
        fingerprint=fingerprint,
    )


def tokenizer(files: ModelFiles, *, remembered: Path, expect: str) -> bytes:
    """The tokenizer.json of a model. Raises `Changed` if its fingerprint is not `expect`.

    The fingerprint is checked only if the hashes of all weights are cached here; loading the
    weights hashes them.
    """
    text = content(files.tokenizer, most=bounds.TOKENIZER_BYTES)
    weights = {path: hashes.known(path, remembered=remembered) for path in files.weights}
    found = {path: each for path, each in weights.items() if each is not None}
    if len(found) == len(weights):
        fingerprint = _fingerprint(files, text, found)
        if fingerprint != expect:
            raise Changed(files.folder, expect, fingerprint)
    return text


def _fingerprint(files: ModelFiles, tokenizer: bytes, weights: Mapping[Path, Hashes]) -> str:
    hashed = {files.tokenizer.name: hashlib.sha256(tokenizer).hexdigest()}
    if files.index:
        index = content(files.index, most=bounds.INDEX_BYTES)
        hashed[files.index.name] = hashlib.sha256(index).hexdigest()
    hashed |= {path.name: found.whole for path, found in weights.items()}
    return fingerprints.fingerprint(files.config, hashed)


def _bytes(tensor: StoredTensor) -> bytearray:
    """The tensor's bytes; fewer if the file was truncated meanwhile."""
    content = bytearray(tensor.n_bytes)
    done = 0
    with opened(tensor.file) as file, memoryview(content) as whole:
        while done < len(whole):
            n = os.preadv(file.fileno(), [whole[done:]], tensor.start + done)
            if n == 0:
                break
            done += n
    del content[done:]
    return content
