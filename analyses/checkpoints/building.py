"""Stops building a model whose config describes far more weights than its files hold."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from analyses.errors import Refused

# Allowance for buffers that a family computes (masks, tables), and for tensors that it derives from
# the stored ones or ties to them.
_TIMES, _MORE_TENSORS, _MORE_NUMBERS = 4, 1_000, 2**26


class MuchLarger(Refused):
    def __init__(self, path: Path, what: str, most: int, stored: int) -> None:
        super().__init__(
            f"The config in {path} describes a model with more than {most:,} {what}, but its "
            f"weights have {stored:,}. Use the config that was saved with these weights."
        )


@contextmanager
def no_larger_than(path: Path, shapes: Collection[tuple[int, ...]]) -> Iterator[None]:
    """Raise `MuchLarger` if the model built inside the block, on the meta device, is too large.

    No memory is allocated for it by then. `shapes` are those of the stored tensors; one with three
    or more axes may become a tensor per expert, so it counts as many as its longest axis.
    """
    numbers = sum(map(prod, shapes))
    tensors = sum(max(shape) if len(shape) > 2 else 1 for shape in shapes)
    most_tensors = _TIMES * tensors + _MORE_TENSORS
    most_numbers = _TIMES * numbers + _MORE_NUMBERS
    seen_tensors = seen_numbers = 0

    def count(_module: nn.Module, _name: str, tensor: Tensor | None) -> None:
        nonlocal seen_tensors, seen_numbers
        if tensor is None or not tensor.is_meta:
            return
        seen_tensors += 1
        seen_numbers += tensor.numel()
        if seen_tensors > most_tensors:
            raise MuchLarger(path, "tensors", most_tensors, len(shapes))
        if seen_numbers > most_numbers:
            raise MuchLarger(path, "numbers", most_numbers, numbers)

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
