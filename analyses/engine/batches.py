"""Prompts of different lengths as one rectangle of tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from analyses.engine.lengths import Lengths
from analyses.errors import Refused
from analyses.prompts.tokenization import TokenizedPrompt

Read = TypeVar("Read", bound=TokenizedPrompt)


class UnequalOptions(Refused):
    def __init__(self, prompts: Sequence[TokenizedPrompt]) -> None:
        counts = {prompt.number: len(prompt.label_ids) for prompt in prompts}
        super().__init__(
            f"Prompts of one run need the same number of labels; by prompt they have {counts}. "
            f"Choose data with the same number of options or candidates in every item."
        )


@dataclass(frozen=True, kw_only=True)
class Rectangle:
    """Tokens padded on the right, where causal attention never looks."""

    numbers: tuple[int, ...]  # of the prompts, one per row
    input_ids: Int[Tensor, "batch pos"]
    attention_mask: Int[Tensor, "batch pos"]
    position_ids: Int[Tensor, "batch pos"]
    final: Int[Tensor, " batch"]  # the position of each row's last token


@dataclass(frozen=True, kw_only=True)
class Batch(Rectangle):
    """Prompts with their labels, and which of these are correct."""

    label_ids: Int[Tensor, "batch label"]
    correct: Bool[Tensor, "batch label"]


def micro_batches(prompts: Sequence[Read], size: int) -> Iterator[tuple[Read, ...]]:
    """Prompts with equal `number // size`: the same groups, however a run is cut into parts."""
    for _, group in groupby(prompts, key=lambda prompt: prompt.number // size):
        yield tuple(group)


def _lengths(prompt: Read) -> list[int]:
    """The lengths of a prompt and its companions, in the same order for every prompt."""
    companions = getattr(prompt, "companions", {}).values()
    return [len(each.input_ids) for each in (prompt, *companions)]


def pieces(
    prompts: Sequence[Read], recordable: Callable[[int], int], *, lengths: Lengths
) -> Iterator[tuple[Read, ...]]:
    """Batches of neighbouring prompts with no more tokens than can be recorded at their width.

    Prompts whose lengths must not share a batch are separated, and so are their companions.
    """
    batch: list[Read] = []
    longest = 0
    for prompt in prompts:
        length = len(prompt.input_ids)
        width = max(longest, length)
        separate = bool(batch) and any(
            map(lengths.must_be_separate, _lengths(batch[0]), _lengths(prompt))
        )
        if batch and (separate or (len(batch) + 1) * width > recordable(width)):
            yield tuple(batch)
            batch, width = [], length
        batch.append(prompt)
        longest = width
    if batch:
        yield tuple(batch)


def rectangle(
    rows: Sequence[Sequence[int]], numbers: Sequence[int], *, device: torch.device
) -> Rectangle:
    """Sequences of tokens, those of the prompts with these numbers, padded to one width.

    Padding repeats the row's last token: another one might overflow, and 0 · NaN is NaN.
    """
    width = max(map(len, rows))
    positions = torch.arange(width, device=device).expand(len(rows), width)
    final = torch.tensor([len(row) for row in rows], device=device) - 1
    filled = [[*row, *row[-1:] * (width - len(row))] for row in map(list, rows)]
    return Rectangle(
        numbers=tuple(numbers),
        input_ids=torch.tensor(filled, device=device),
        attention_mask=(positions <= final[:, None]).long(),
        position_ids=positions,
        final=final,
    )


def padded(prompts: Sequence[TokenizedPrompt], *, device: torch.device) -> Batch:
    """Raises `UnequalOptions`."""
    if len({len(prompt.label_ids) for prompt in prompts}) > 1:
        raise UnequalOptions(prompts)
    rows = [prompt.input_ids for prompt in prompts]
    right = [
        [index in prompt.correct for index in range(len(prompt.label_ids))] for prompt in prompts
    ]
    tokens = rectangle(rows, [prompt.number for prompt in prompts], device=device)
    return Batch(
        **vars(tokens),
        label_ids=torch.tensor([prompt.label_ids for prompt in prompts], device=device),
        correct=torch.tensor(right, device=device),
    )
