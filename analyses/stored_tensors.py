"""A checkpoint's tensors, each read and checked when transformers asks for it."""

from collections.abc import Mapping
from types import EllipsisType

import torch
from torch import Tensor

from analyses.checkpoints.contents import Contents
from analyses.checkpoints.headers import StoredTensor

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


class StoredTensors:
    """A lazy state dict for `from_pretrained`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.failure: Exception | None = None  # transformers only logs it

    def state_dict(self) -> Mapping[str, "_Stored"]:
        return {name: _Stored(self, name) for name in self._contents.stored}

    def read(self, name: str) -> Tensor:
        try:
            return _tensor(self._contents.stored[name], self._contents.tensor(name))
        except Exception as error:
            self.failure = self.failure or error
            raise


class _Stored:
    """One tensor; transformers indexes it with `...` to load it."""

    def __init__(self, tensors: StoredTensors, name: str) -> None:
        self._tensors, self._name = tensors, name

    def __getitem__(self, _whole: EllipsisType) -> Tensor:
        return self._tensors.read(self._name)


def _tensor(stored: StoredTensor, content: bytearray) -> Tensor:
    if not content:
        return torch.empty(stored.shape, dtype=_DTYPES[stored.dtype])
    return torch.frombuffer(content, dtype=_DTYPES[stored.dtype]).reshape(stored.shape)
