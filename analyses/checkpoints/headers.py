"""What the heads of safetensors files say of their tensors; no weight is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from analyses.checkpoints.folders import ModelFiles
from analyses.errors import Refused


class BrokenWeights(Refused):
    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path} cannot be read as safetensors: {error}. Copy or download the file again."
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


def stored_tensors(files: ModelFiles) -> Mapping[str, StoredTensor]:
    """The tensors of all files by name; raises `BrokenWeights` and `StoredTwice`."""
    found: dict[str, StoredTensor] = {}
    for path in files.weights:
        for name, tensor in _of_file(path).items():
            if name in found:
                raise StoredTwice(name, found[name].file, path)
            found[name] = tensor
    return found


def _of_file(path: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: StoredTensor(each.get_dtype(), tuple(each.get_shape()), path)
                for name, each in slices.items()
            }
    except SafetensorError as error:
        raise BrokenWeights(path, error) from None
