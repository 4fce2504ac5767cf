"""Whether a language model is understood, what it answers, and what of it may not be trusted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analyses import bootstrap
from analyses.errors import Refused
from analyses.foreign import in_words
from analyses.methods.behaviour import STORES, BehaviourParams, behaviour
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import examples
from analyses.quantities import Quantity
from analyses.results import MODEL, ScoreKey

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel

# What is not of the split may have been seen in training, by the model that is shipped.
STANDARD = tuple(
    f"{data}/chinchilla/{labels}"
    for data in ("colours", "facts")
    for labels in ("ABCD", "random_letters")
)
LEAST_LABEL_MASS = 0.5
FULL = "torch.float32"
TOLD = ("accuracy", "content_accuracy", "label_mass")
PROPORTIONS = {each.metric for each in STORES if each.proportion}
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Means over the prompts of a distribution, with 95 % intervals over items."""

    accuracy: float
    content_accuracy: float
    label_mass: float
    intervals: Mapping[str, Interval]  # of each of the three; of one item there is none
    n: int
    chance: float
    warnings: tuple[str, ...]  # about what it was given to read

    @property
    def at_chance(self) -> bool:
        low, _ = self.intervals.get("accuracy", (self.accuracy, self.accuracy))
        return low <= self.chance


@dataclass(frozen=True, kw_only=True)
class Checkup:
    family: str
    closes: bool
    largest_gap: float  # relative, of all that must agree
    behaviour: Mapping[str, Answers]  # by distribution
    distrust: tuple[str, ...]  # what may not be trusted, in sentences


def check(lm: "LanguageModel", *, prompts: int, progress: Callable[[str], None]) -> Checkup:
    """Asks a model that closes the standard distributions, whose names `progress` is told."""
    answers: dict[str, Answers] = {}
    refused = []
    for name in STANDARD:
        progress(name)
        try:
            with in_words(f"Asking a {lm.shape.family!r} model"):
                answers[name] = ask(lm, DistributionSpec.parse(name, size=prompts, split="test"))
        except Refused as error:
            refused.append(f"{name} cannot be asked. {error}")
    return Checkup(
        family=lm.shape.family,
        closes=True,
        largest_gap=lm.largest_gap,
        behaviour=answers,
        distrust=(*refused, *_distrust(str(lm.model.dtype), answers), *unread(lm)),
    )


def unread(lm: "LanguageModel") -> Iterator[str]:
    """What of its files the model does not have, and what of its tokenizer."""
    if lm.left_out:
        yield (
            f"Its family leaves out weights of these files, which text does not need: "
            f"{', '.join(lm.left_out[:3])} ({len(lm.left_out)} in all)."
        )
    tokens, rows = lm.tokenizer.get_vocab_size(), lm.limits.n_embeddings
    if rows is not None and tokens > rows:
        yield (
            f"The tokenizer knows {tokens} tokens, the embedding has {rows} rows: prompts that "
            f"need the others are refused."
        )


def ask(lm: "LanguageModel", spec: DistributionSpec) -> Answers:
    """What the model answers on a distribution."""
    made = examples(lm.tokenizer, distributions.build(spec).prompts)
    found = behaviour(lm, made, BehaviourParams(), lambda _done: None).scores
    values = {name: found[ScoreKey(MODEL, Quantity(name))] for name in TOLD}
    return Answers(
        **{name: float(each.mean()) for name, each in values.items()},
        intervals=_intervals(values, [each.item for each in made]),
        n=len(made),
        chance=1 / spec.options,
        warnings=lm.limits.warnings(made),
    )


def _intervals(
    values: Mapping[str, NDArray[np.float32]], items: Sequence[str]
) -> dict[str, Interval]:
    found = bootstrap.statistics(
        np.stack(list(values.values())),
        bootstrap.draw(items, seed=0),
        proportion=[name in PROPORTIONS for name in values],
    )
    return {
        name: (each.ci_low, each.ci_high)
        for name, each in zip(values, found, strict=True)
        if each.ci_low is not None and each.ci_high is not None
    }


def _distrust(dtype: str, answers: Mapping[str, Answers]) -> Iterator[str]:
    if dtype != FULL:
        yield (
            f"The weights are in {dtype.removeprefix('torch.')}: numbers are exact to its rounding "
            f"only, and small effects drown in it. Add the model in float32 to compare."
        )
    for name, each in answers.items():
        if each.at_chance:
            yield (
                f"On {name} the accuracy of {each.accuracy:.2f} is not above chance "
                f"({each.chance:.2f}): there is no behaviour here that heads could explain."
            )
        if each.label_mass < LEAST_LABEL_MASS:
            yield (
                f"On {name} the labels together have a probability of {each.label_mass:.2f}: the "
                f"model mostly answers with something that is no label."
            )
        for warning in each.warnings:
            yield f"On {name}, {warning}"
