"""What the modules of a model give."""

from typing import Any

from torch import Tensor


def first_tensor(value: Any) -> Tensor | None:
    """A module's output, which may come with others in a tuple."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None
