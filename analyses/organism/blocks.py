"""Solved questions as text: with options and a label, or with the text of the answer."""

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
MAX_TRIES = 20  # an item with few distractors may have no set in the training split


@dataclass(frozen=True, kw_only=True)
class Block:
    """A solved question: for each span in `answers`, `text[span]` is a label, mark or answer."""

    item: Item
    options: tuple[str, ...]
    text: str
    answers: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Manner:
    """The format that all blocks of one sequence share."""

    wording: Wording
    marked: bool  # whether each option is followed by `true` or `false`
    scheme: str
    shared: tuple[str, ...]  # labels of all blocks; empty if every block draws its own


def manner(draw: Random, mix: Mix, stage: Stage) -> Manner:
    """Draw a format with the probabilities of the mix and the stage."""
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
    """The answer and k - 1 distractors in random order; None if no training set was found."""
    if len(item.distractors) < k - 1:
        return None
    for _ in range(MAX_TRIES):
        options = [item.answer, *draw.sample(item.distractors, k - 1)]
        if option_sets.half(options) == "train":
            draw.shuffle(options)
            return options
    return None


def choice(draw: Random, item: Item, options: list[str], manner: Manner) -> Block:
    """The question with these options, followed by the label of the correct one."""
    k, correct = len(options), options.index(item.answer)
    names = manner.shared[:k] or _labels(draw, manner.scheme, k)
    marks = [f" {MARKS[option == item.answer]}" * manner.marked for option in options]
    shown = tuple(option + mark for option, mark in zip(options, marks, strict=True))
    question = Question(item=item, options=shown, correct=correct)
    written = manner.wording.write(Plan(asked=question, shots=(), labels=names))
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
    """The question without options, followed by its answer."""
    text = f"{item.question}\nAnswer: "
    return Block(
        item=item,
        options=(),
        text=f"{text}{item.answer}\n\n",
        answers=(Span(len(text), len(text) + len(item.answer)),),
    )
