"""The check that parts add up to their whole; a model that fails it is refused."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.errors import Refused

PROOF = -1  # the number of prompts that only verify a model when it is loaded
# The largest relative gap allowed. Half precision rounds the residual after every layer.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class DoesNotClose(Refused):
    def __init__(self, where: str, what: str, prompt: int, gap: float, tolerance: float) -> None:
        self.gap = gap
        of = "the proof at loading" if prompt == PROOF else f"prompt {prompt}"
        super().__init__(
            f"In {of}, at {where}: {what} do not agree. The relative gap is {gap:.1e}, and at most "
            f"{tolerance:.0e} is allowed. Something in this model is not accounted for, so every "
            f"attribution of it would be wrong. Use another model, or report its family."
        )


def relative_gap(
    total: Float[Tensor, "batch d"], whole: Float[Tensor, "batch d"]
) -> Float[Tensor, " batch"]:
    """‖total − whole‖ / ‖whole‖, per prompt."""
    difference = torch.linalg.vector_norm(total.double() - whole.double(), dim=-1)
    size = torch.linalg.vector_norm(whole.double(), dim=-1)
    gap: Tensor = difference / size.clamp_min(torch.finfo(torch.float32).tiny)
    return gap.float()


def check_closure(
    total: Float[Tensor, "batch d"],
    whole: Float[Tensor, "batch d"],
    *,
    where: str,
    what: str,
    numbers: Sequence[int],
    tolerance: float,
) -> float:
    """The largest gap; raises `DoesNotClose`, with the prompt that is furthest off."""
    gaps = relative_gap(total, whole)
    worst = int(gaps.nan_to_num(torch.inf).argmax())
    if not bool(gaps[worst] <= tolerance):
        raise DoesNotClose(where, what, numbers[worst], float(gaps[worst]), tolerance)
    return float(gaps[worst])
