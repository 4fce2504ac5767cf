"""Solved questions as text: with options and a label, or with the answer's own words."""

from dataclasses import dataclass
from random import Random

from analyses.organism.recipe import Mix, Stage
from analyses.prompts import labels, option_sets, separators
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
class Manner:
    """What the blocks of one sequence have in common."""

    wording: Wording
    marked: bool  # whether each option says if it is true
    scheme: str
    shared: tuple[str, ...]  # labels, or none where every block draws its own


def manner(draw: Random, mix: Mix, stage: Stage) -> Manner:
    """A manner by the shares of the mix."""
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


def training_set(draw: Random, item: Item, k: int) -> list[str] | None:
    """The answer and distractors in a random order, or None where no training set was found."""
    if len(item.distractors) < k - 1:
        return None
    for _ in range(TRIES):
        options = [item.answer, *draw.sample(item.distractors, k - 1)]
        if option_sets.half(options) == "train":
            draw.shuffle(options)
            return options
    return None


def choice(draw: Random, item: Item, options: list[str], manner: Manner) -> Block:
    """The question with these options, and the label of the right one."""
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


def plain(item: Item) -> Block:
    """The question alone, and its answer."""
    text = f"{item.question}\nAnswer: "
    return Block(
        item=item,
        options=(),
        text=f"{text}{item.answer}\n\n",
        answers=(Span(len(text), len(text) + len(item.answer)),),
    )
