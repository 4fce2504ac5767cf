"""Prompts of unequal length as one rectangle of tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from analyses.errors import Refused
from analyses.prompts.tokenization import TokenizedPrompt

Read = TypeVar("Read", bound=TokenizedPrompt)


class UnequalLengths(Refused):
    def __init__(self, lengths: Sequence[int], limit: int) -> None:
        super().__init__(
            f"Prompts of {min(lengths)} and {max(lengths)} tokens cannot be recorded together: "
            f"this model embeds positions otherwise when a batch has a prompt of more than {limit} "
            f"tokens. Record the longer ones apart."
        )


class UnequalOptions(Refused):
    def __init__(self, prompts: Sequence[TokenizedPrompt]) -> None:
        counts = {prompt.number: len(prompt.label_ids) for prompt in prompts}
        super().__init__(
            f"Prompts of one run need the same number of options; by prompt they have {counts}. "
            f"Choose data with as many options in every item."
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Prompts padded on the right: causal attention never lets a token see what comes after it."""

    numbers: tuple[int, ...]
    input_ids: Int[Tensor, "batch pos"]
    attention_mask: Int[Tensor, "batch pos"]
    position_ids: Int[Tensor, "batch pos"]
    final: Int[Tensor, " batch"]  # the position of each prompt's last token
    label_ids: Int[Tensor, "batch label"]
    correct: Int[Tensor, " batch"]


def micro_batches(prompts: Sequence[Read], size: int) -> Iterator[tuple[Read, ...]]:
    """Prompts that share `number // size`: the same together, however a run is cut in parts."""
    for _, together in groupby(prompts, key=lambda prompt: prompt.number // size):
        yield tuple(together)


def pieces(
    prompts: Sequence[Read], recordable: Callable[[int], int], *, limit: int | None = None
) -> Iterator[tuple[Read, ...]]:
    """Neighbours whose rectangle has no more tokens than can be recorded at its width.

    Prompts of up to `limit` tokens never come together with longer ones.
    """
    together: list[Read] = []
    longest = 0
    for prompt in prompts:
        length = len(prompt.input_ids)
        width = max(longest, length)
        apart = limit is not None and (length > limit) != (longest > limit)
        if together and (apart or (len(together) + 1) * width > recordable(width)):
            yield tuple(together)
            together, width = [], length
        together.append(prompt)
        longest = width
    if together:
        yield tuple(together)


def padded(
    prompts: Sequence[TokenizedPrompt], *, device: torch.device, limit: int | None = None
) -> Batch:
    """Raises `UnequalLengths` where only some are longer than `limit`, and `UnequalOptions`."""
    lengths = [len(prompt.input_ids) for prompt in prompts]
    if limit is not None and len({length > limit for length in lengths}) > 1:
        raise UnequalLengths(lengths, limit)
    if len({len(prompt.label_ids) for prompt in prompts}) > 1:
        raise UnequalOptions(prompts)
    width = max(lengths)
    ids = [[*p.input_ids, *[0] * (width - len(p.input_ids))] for p in prompts]
    positions = torch.arange(width, device=device).expand(len(prompts), width)
    final = torch.tensor(lengths, device=device) - 1
    return Batch(
        numbers=tuple(prompt.number for prompt in prompts),
        input_ids=torch.tensor(ids, device=device),
        attention_mask=(positions <= final[:, None]).long(),
        position_ids=positions,
        final=final,
        label_ids=torch.tensor([prompt.label_ids for prompt in prompts], device=device),
        correct=torch.tensor([prompt.correct for prompt in prompts], device=device),
    )
