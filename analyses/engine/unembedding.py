"""The logits of a final residual, computed the same way for recorded and for patched runs.

The final norm and the unembedding are computed in fp32 whatever the model's dtype is, since a
logit near 20 is a multiple of 1/8 in bf16.
"""

from collections.abc import Iterator

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine.anatomy import Anatomy

MOST_ROWS = 512  # residuals that are unembedded together
MOST_TOKENS = 8192  # rows of the unembedding that are converted to fp32 together


def pre_cap_logits(
    anatomy: Anatomy,
    resid: Float[Tensor, "*n batch d_model"],
    label_ids: Int[Tensor, "batch label"],
) -> Float[Tensor, "*n batch label"]:
    """The label logits of a final residual, before a soft-cap."""
    normed = anatomy.final_norm(resid)
    W_U = anatomy.W_U(label_ids)
    return einsum(normed, W_U, "... batch d, batch label d -> ... batch label") + anatomy.b_U(
        label_ids
    )


def label_logits(
    anatomy: Anatomy,
    resid: Float[Tensor, "*n batch d_model"],
    label_ids: Int[Tensor, "batch label"],
) -> Float[Tensor, "*n batch label"]:
    """The label logits of a final residual, after a soft-cap."""
    return anatomy.cap(pre_cap_logits(anatomy, resid, label_ids))


@torch.no_grad()
def logits(
    anatomy: Anatomy, resid: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch d_vocab"]:
    """The logits of the whole vocabulary, after a soft-cap."""
    rows = anatomy.final_norm(resid).to(anatomy.unembedding.weight.device)
    slices = [_of_tokens(anatomy, rows, W_U, b_U) for W_U, b_U in _slices(anatomy)]
    return torch.cat(slices, dim=-1).to(resid.device)


@torch.no_grad()
def logsumexp(
    anatomy: Anatomy, resid: Float[Tensor, "*batch d_model"], left: int
) -> Float[Tensor, "*batch"]:
    """log Σ exp over all logits, a few rows and tokens at a time; `left` is in bytes."""
    rows = anatomy.final_norm(resid).flatten(0, -2).to(anatomy.unembedding.weight.device)
    total = rows.new_full((len(rows),), -torch.inf)
    # Four copies of the logits in fp32: as computed, scaled, capped, and inside the sum.
    size = max(1, min(MOST_ROWS, left // (4 * 4 * MOST_TOKENS)))
    for W_U, b_U in _slices(anatomy):
        some = [
            _of_tokens(anatomy, each, W_U, b_U).logsumexp(-1) for each in torch.split(rows, size)
        ]
        total = torch.logaddexp(total, torch.cat(some)) if some else total
    return total.view(resid.shape[:-1]).to(resid.device)


def _slices(anatomy: Anatomy) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Rows of the unembedding in fp32, and their biases."""
    weight, bias = anatomy.unembedding.weight, anatomy.unembedding.bias
    for start in range(0, len(weight), MOST_TOKENS):
        some = slice(start, start + MOST_TOKENS)
        yield weight[some].float(), None if bias is None else bias[some].float()


def _of_tokens(
    anatomy: Anatomy,
    rows: Float[Tensor, "batch d_model"],
    W_U: Float[Tensor, "token d_model"],
    b_U: Float[Tensor, " token"] | None,
) -> Float[Tensor, "batch token"]:
    logits = torch.nn.functional.linear(rows, W_U, b_U)
    return anatomy.cap(logits * anatomy.logit_multiplier)
