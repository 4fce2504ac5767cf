"""Outputs of a model's modules."""

from typing import Any

from torch import Tensor


def first_tensor(value: Any) -> Tensor | None:
    """The main tensor of a module's output, which may be the first of a tuple."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None
