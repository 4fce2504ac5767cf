"""What is loaded of a model: its files' contents, each the one that its fingerprint is made of."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analyses import bounds
from analyses.checkpoints import fingerprints, hashes, headers
from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.headers import StoredTensor
from analyses.errors import Refused
from analyses.regular_files import ChangedWhileRead, content, opened


class OtherBytes(Refused):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path} is not what it was when it was hashed: the tensor {name} has other bytes. Put "
            f"the file back, or add the model again, and let nobody write to it meanwhile."
        )


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Config and tokenizer as they were read; tensors are read when asked for, and then checked."""

    files: ModelFiles
    tokenizer: bytes = field(repr=False)
    stored: Mapping[str, StoredTensor] = field(repr=False)
    tensor_hashes: Mapping[str, str] = field(repr=False)
    remembered: Path | None
    fingerprint: str

    @property
    def config(self) -> bytes:
        """The config.json that its fingerprint is made of."""
        return fingerprints.canonical(self.files.config)

    def tensor(self, name: str) -> bytearray:
        """A tensor's bytes, in memory that no file is behind; raises `OtherBytes`."""
        stored = self.stored[name]
        found = hashes.tensor_hash(stored)
        try:
            read = _bytes(stored)
            found.update(read)
            if found.hexdigest() == self.tensor_hashes[name]:
                return read
            hashes.forget(stored.file, remembered=self.remembered)
        except FileNotFoundError:
            pass
        raise OtherBytes(stored.file, name)


def of(files: ModelFiles, *, remembered: Path | None) -> Contents:
    """Weights are hashed once if there is a folder to remember their hashes in."""
    tokenizer = content(files.tokenizer, most=bounds.TOKENIZER_BYTES)
    hashed = {files.tokenizer.name: hashlib.sha256(tokenizer).hexdigest()}
    if files.index:
        index = content(files.index, most=bounds.INDEX_BYTES)
        hashed[files.index.name] = hashlib.sha256(index).hexdigest()
    tensors: dict[str, str] = {}
    stored = headers.stored_tensors(files)
    for path in files.weights:
        found = hashes.of_file(path, remembered=remembered)
        hashed[path.name] = found.whole
        tensors |= found.tensors
        if found.tensors.keys() != {name for name, each in stored.items() if each.file == path}:
            raise ChangedWhileRead(path)
    return Contents(
        files=files,
        tokenizer=tokenizer,
        stored=stored,
        tensor_hashes=tensors,
        remembered=remembered,
        fingerprint=fingerprints.fingerprint(files.config, hashed),
    )


def _bytes(tensor: StoredTensor) -> bytearray:
    """As many as are there; a file that was cut meanwhile gives fewer."""
    read = bytearray(tensor.n_bytes)
    done = 0
    with opened(tensor.file) as file, memoryview(read) as whole:
        while done < len(whole):
            n = os.preadv(file.fileno(), [whole[done:]], tensor.start + done)
            if n == 0:
                break
            done += n
    del read[done:]
    return read
