"""Sequences of solved questions from the training split, drawn from the seed and the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor

from analyses.organism import blocks
from analyses.organism.blocks import Block, Manner
from analyses.organism.recipe import Recipe, Stage
from analyses.prompts import templates
from analyses.prompts.items import Item


@dataclass(frozen=True, kw_only=True)
class Row:
    """One sequence; `answers` marks the tokens that the model is trained to answer."""

    ids: list[int]
    answers: list[bool]
    blocks: list[Block]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of tokens of the same length.

    `blocks` are all blocks in it; the last one of a row may be truncated.
    """

    ids: Int[Tensor, "row pos"]
    answers: Bool[Tensor, "row pos"]
    blocks: tuple[Block, ...]


class Sampler:
    """Draws solved questions whose sets of options are all in the training split."""

    def __init__(
        self, tokenizer: Tokenizer, corpus: Mapping[str, Sequence[Item]], recipe: Recipe
    ) -> None:
        self._tokenizer = tokenizer
        self._corpus = corpus
        self._recipe = recipe

    def batch(self, step: int) -> Batch:
        """The batch of a step, which only depends on the step and the recipe."""
        draw = Random(f"{self._recipe.seed}/{step}")
        stage = self._recipe.stage_at(step)
        rows = [self._row(draw, stage) for _ in range(self._recipe.tokens // stage.length)]
        return Batch(
            ids=torch.tensor([row.ids for row in rows]),
            answers=torch.tensor([row.answers for row in rows]),
            blocks=tuple(block for row in rows for block in row.blocks),
        )

    def _row(self, draw: Random, stage: Stage) -> Row:
        """Concatenated blocks, truncated to the stage's length; the first may have a prelude."""
        manner = blocks.manner(draw, self._recipe.mix, stage)
        ids: list[int] = []
        answers: list[bool] = []
        solved: list[Block] = []
        while len(ids) < stage.length:
            block = self._block(draw, manner, stage)
            before = "" if ids else self._prelude(draw, block.item.topic)
            encoding = self._tokenizer.encode(before + block.text, add_special_tokens=not ids)
            ids += encoding.ids
            answers += [
                any(a <= first - len(before) < last - len(before) <= b for a, b in block.answers)
                for first, last in encoding.offsets
            ]
            solved.append(block)
        return Row(ids=ids[: stage.length], answers=answers[: stage.length], blocks=solved)

    def _prelude(self, draw: Random, topic: str) -> str:
        if draw.random() >= self._recipe.mix.prelude:
            return ""
        template = draw.choice(sorted(templates.TEMPLATES))
        return templates.TEMPLATES[template].prelude.format(topic=topic)

    def _block(self, draw: Random, manner: Manner, stage: Stage) -> Block:
        while True:
            data = "colours" if draw.random() < stage.colours else "facts"
            item = draw.choice(self._corpus[data])
            if draw.random() < self._recipe.mix.plain[data]:
                return blocks.plain(item)
            (k,) = draw.choices(list(stage.options), list(stage.options.values()))
            if chosen := blocks.training_set(draw, item, k):
                return blocks.choice(draw, item, chosen, manner)
