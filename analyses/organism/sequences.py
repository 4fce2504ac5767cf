"""Sequences of solved questions from the training split; a seed and a step decide each batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor

from analyses.organism.recipe import Mix, Recipe, Stage
from analyses.prompts import labels, option_sets, separators, templates
from analyses.prompts.items import Item
from analyses.prompts.plans import Plan, Question
from analyses.prompts.streams import Stream
from analyses.prompts.templates import Wording
from analyses.prompts.written import Span

MARKS = {True: "true", False: "false"}
TRIES = 20  # of an item with few distractors, every set may be for testing


@dataclass(frozen=True, kw_only=True)
class Block:
    """A solved question: `text[span]` of each of `answers` is a label, a mark, or words."""

    item: Item
    options: tuple[str, ...]
    text: str
    answers: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    ids: list[int]
    answers: list[bool]
    blocks: list[Block]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Equally long rows of tokens; `answers` says which of them a reader should have known.

    `blocks` are all that stand in it, the last of a row perhaps only in part.
    """

    ids: Int[Tensor, "row pos"]
    answers: Bool[Tensor, "row pos"]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What the blocks of one sequence have in common."""

    wording: Wording
    marked: bool  # whether each option says if it is true
    scheme: str
    shared: tuple[str, ...]  # labels, or none where every block draws its own


class Sampler:
    """Draws solved questions whose sets of options are all in the training split."""

    def __init__(
        self, tokenizer: Tokenizer, corpus: Mapping[str, Sequence[Item]], recipe: Recipe
    ) -> None:
        self._tokenizer = tokenizer
        self._corpus = corpus
        self._recipe = recipe

    def batch(self, step: int) -> Batch:
        """The batch of that step, the same whenever it is asked for."""
        draw = Random(f"{self._recipe.seed}/{step}")
        stage = self._recipe.stage_at(step)
        rows = [self._row(draw, stage) for _ in range(self._recipe.tokens // stage.length)]
        return Batch(
            ids=torch.tensor([row.ids for row in rows]),
            answers=torch.tensor([row.answers for row in rows]),
            blocks=tuple(block for row in rows for block in row.blocks),
        )

    def _row(self, draw: Random, stage: Stage) -> Row:
        """Blocks one after the other, cut at the stage's length; the first may have a prelude."""
        manner = _manner(draw, self._recipe.mix, stage)
        ids: list[int] = []
        answers: list[bool] = []
        blocks: list[Block] = []
        while len(ids) < stage.length:
            block = self._block(draw, manner, stage)
            before = "" if ids else self._prelude(draw, block.item.topic)
            encoding = self._tokenizer.encode(before + block.text, add_special_tokens=not ids)
            ids += encoding.ids
            answers += [
                any(a <= first - len(before) < last - len(before) <= b for a, b in block.answers)
                for first, last in encoding.offsets
            ]
            blocks.append(block)
        return Row(ids=ids[: stage.length], answers=answers[: stage.length], blocks=blocks)

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
                return _plain(item)
            (k,) = draw.choices(list(stage.options), list(stage.options.values()))
            if chosen := _training_set(draw, item, k):
                return _choice(draw, item, chosen, manner)


def _manner(draw: Random, mix: Mix, stage: Stage) -> Manner:
    bracket = draw.random() < mix.bracket
    others = sorted(set(separators.SEPARATORS) - {"(A)"})
    name = "(A)" if bracket else draw.choice(others)
    scheme = "random_letters" if draw.random() < mix.letters else "ABCD"
    shared = draw.random() < mix.shared
    return Manner(
        wording=Wording(prelude="", separators=separators.SEPARATORS[name]),
        marked=draw.random() < stage.marked,
        scheme=scheme,
        shared=_labels(draw, scheme, labels.MOST_OPTIONS) if shared else (),
    )


def _labels(draw: Random, scheme: str, k: int) -> tuple[str, ...]:
    return labels.draw(scheme, k, Stream(draw.getrandbits(64)))


def _training_set(draw: Random, item: Item, k: int) -> list[str] | None:
    """The answer and distractors in a random order, or None where no training set was found."""
    if len(item.distractors) < k - 1:
        return None
    for _ in range(TRIES):
        options = [item.answer, *draw.sample(item.distractors, k - 1)]
        if option_sets.half(options) == "train":
            draw.shuffle(options)
            return options
    return None


def _choice(draw: Random, item: Item, options: list[str], manner: Manner) -> Block:
    k, correct = len(options), options.index(item.answer)
    names = manner.shared[:k] or _labels(draw, manner.scheme, k)
    marks = [f" {MARKS[option == item.answer]}" * manner.marked for option in options]
    shown = tuple(option + mark for option, mark in zip(options, marks, strict=True))
    asked = Question(item=item, options=shown, correct=correct)
    written = manner.wording.write(Plan(asked=asked, shots=(), labels=names))
    text, label = written.text + written.joint, names[correct]
    answers = [
        Span(span.stop - len(mark.strip()), span.stop)
        for span, mark in zip(written.option_spans, marks, strict=True)
    ]
    return Block(
        item=item,
        options=tuple(options),
        text=text + label + manner.wording.separators.closing,
        answers=(*answers, Span(len(text), len(text) + len(label))),
    )


def _plain(item: Item) -> Block:
    text = f"{item.question}\nAnswer: "
    return Block(
        item=item,
        options=(),
        text=f"{text}{item.answer}\n\n",
        answers=(Span(len(text), len(text) + len(item.answer)),),
    )
