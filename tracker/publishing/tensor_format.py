"""A tensor as a safetensors file, its axes and coordinates in the file's metadata."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from analyses.results import NamedTensor
from tracker.store.tensors import StoredTensor


def encoded(name: str, tensor: NamedTensor) -> bytes:
    """The bytes of the file, which are the same for the same tensor."""
    # Under one key, since safetensors writes several in any order.
    described = json.dumps({"axes": tensor.axes, "coordinates": dict(tensor.coordinates)})
    values = np.ascontiguousarray(tensor.values)
    return bytes(save({name: values}, metadata={"headbook": described}))


def decoded(path: Path, stored: StoredTensor) -> NamedTensor:
    """The tensor in a file whose hash has been checked."""
    return NamedTensor(load_file(path)[stored.name], stored.axes, stored.coordinates)


def sha256(path: Path) -> str:
    """The hash of a file, however large it is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
