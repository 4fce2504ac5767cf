"""Every forward pass of a model, under one set of rules.

Lengths are checked, padding is on the right and masked, positions count from each row's first
token, and numbers that are not finite raise `NotFinite`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine import finite
from analyses.engine.anatomy import Anatomy
from analyses.engine.batches import Rectangle
from analyses.engine.lengths import Lengths
from analyses.errors import Refused


class BeyondPositions(Refused):
    def __init__(self, length: int, positions: int) -> None:
        super().__init__(
            f"{length} tokens cannot be read: the model has positions for {positions}. Use shorter "
            f"prompts."
        )


@torch.no_grad()
def through(
    model: PreTrainedModel, anatomy: Anatomy, tokens: Rectangle
) -> Float[Tensor, "batch d_vocab"]:
    """The model's own logits at the final positions, in fp32 on the tokens' device.

    Raises what `Lengths.check` does, `BeyondPositions` and `NotFinite`.
    """
    lengths = (tokens.final + 1).tolist()
    Lengths.of(model).check(lengths)
    most = anatomy.limits.max_positions
    if most is not None and max(lengths) > most:
        raise BeyondPositions(max(lengths), most)
    with (
        finite.checked_layers(anatomy, tokens, model.dtype),
        _final_only(anatomy.unembedding, tokens),
    ):
        output = model(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            position_ids=tokens.position_ids,
            use_cache=False,
        )
    logits: Tensor = output.logits
    return logits[:, 0].to(tokens.input_ids.device, torch.float32)


@torch.no_grad()
def plain(
    model: PreTrainedModel,
    input_ids: Int[Tensor, "row pos"],
    attention_mask: Int[Tensor, "row pos"] | None = None,
) -> Float[Tensor, "row pos d_vocab"]:
    """The logits of rows of equal length, with the model's own default positions.

    The reference that a model is verified against. A mask is given only to observe its use.
    """
    Lengths.of(model).check([input_ids.shape[1]])
    mask = {} if attention_mask is None else {"attention_mask": attention_mask}
    logits: Tensor = model(input_ids=input_ids, use_cache=False, **mask).logits
    return logits


@contextmanager
def _final_only(unembedding: nn.Module, tokens: Rectangle) -> Iterator[None]:
    """Inside the block, only final positions are unembedded: no other logits are needed."""

    def select(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        resid = args[0]
        rows = torch.arange(resid.shape[0], device=resid.device)
        return (resid[rows, tokens.final.to(resid.device)][:, None], *args[1:])

    handle = unembedding.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
