"""A model is built no larger than the weights that there are for it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from analyses.errors import Refused

# Masks and tables that a family calculates, and tensors that it makes of several or ties, come on
# top of what is stored.
_TIMES, _MORE_TENSORS, _MORE_NUMBERS = 4, 1_000, 2**26


class MuchLarger(Refused):
    def __init__(self, path: Path, what: str, most: int, stored: int) -> None:
        super().__init__(
            f"The config in {path} describes a model of more than {most:,} {what}, and {stored:,} "
            f"are stored. Use the config that was saved with these weights."
        )


@contextmanager
def no_larger_than(path: Path, shapes: Collection[tuple[int, ...]]) -> Iterator[None]:
    """Inside the block, building a model without its weights stops with `MuchLarger`.

    Nothing is in memory by then. `shapes` are those of the tensors that are stored: one of them may
    become as many as it is long, of experts.
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
