"""Numbers that are not finite end a run; no result is computed from them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyses.engine.anatomy import Anatomy
from analyses.engine.batches import Rectangle
from analyses.engine.closure import PROOF
from analyses.engine.outputs import first_tensor
from analyses.errors import Refused

LOGITS = "in the logits"


class NotFinite(Refused):
    def __init__(self, prompt: int, where: str, dtype: torch.dtype) -> None:
        what = "The proof at loading" if prompt == PROOF else f"Prompt {prompt}"
        name = str(dtype).removeprefix("torch.")
        way_out = (
            "Look for such numbers in its weights"
            if dtype == torch.float32
            else "Add the model in float32"
        )
        super().__init__(
            f"{what} cannot be measured: {where}, the model computes numbers that are not finite "
            f"in {name}. {way_out}, or leave such prompts out."
        )


@contextmanager
def checked_layers(anatomy: Anatomy, tokens: Rectangle, dtype: torch.dtype) -> Iterator[None]:
    """Around a forward pass: raises `NotFinite` for the first layer with such an output.

    Padding is ignored.
    """
    padding = tokens.attention_mask == 0
    finite_rows: list[Bool[Tensor, " batch"]] = []

    def after_layer(_module: Any, _args: Any, output: Any) -> None:
        value = first_tensor(output)
        assert value is not None
        finite = value.reshape(*padding.shape, -1).isfinite().all(-1)
        finite_rows.append((finite | padding.to(finite.device)).all(-1))

    with ExitStack() as hooks:
        for layer in anatomy.layers:
            hooks.callback(layer.layer.register_forward_hook(after_layer).remove)
        yield
    by_row = torch.stack([rows.to(padding.device) for rows in finite_rows], dim=1).tolist()
    for number, layers in zip(tokens.numbers, by_row, strict=True):
        if not all(layers):
            raise NotFinite(number, f"from layer {layers.index(False)} on", dtype)


def check(
    values: Float[Tensor, "*n batch"],
    numbers: Sequence[int],
    where: str,
    dtype: torch.dtype,
) -> None:
    """Raises `NotFinite` for the first prompt with a value that is not finite."""
    finite_rows = values.isfinite().reshape(-1, len(numbers)).all(0).tolist()
    if not all(finite_rows):
        raise NotFinite(numbers[finite_rows.index(False)], where, dtype)
