"""Check a language model: whether it is supported, what it answers, and caveats."""

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

# The shipped model may have seen all other splits in training.
STANDARD = tuple(
    f"{data}/chinchilla/{labels}"
    for data in ("colours", "facts")
    for labels in ("ABCD", "random_letters")
)
LEAST_LABEL_MASS = 0.5
FULL = "torch.float32"
REPORTED = ("accuracy", "content_accuracy", "label_mass")
PROPORTIONS = {each.metric for each in STORES if each.proportion}
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Means over the prompts of a distribution, with 95 % intervals over items."""

    accuracy: float
    label_mass: float
    content_accuracy: float | None = None  # of questions only
    intervals: Mapping[str, Interval]  # by metric; empty if there is only one item
    n: int
    chance: float
    warnings: tuple[str, ...]  # about the prompts, such as their length

    @property
    def at_chance(self) -> bool:
        """Whether the interval of the accuracy does not exclude chance."""
        low, _ = self.intervals.get("accuracy", (self.accuracy, self.accuracy))
        return low <= self.chance


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """The result of checking a model."""

    family: str
    closes: bool
    largest_gap: float  # largest relative error of the decomposition and of replays
    behaviour: Mapping[str, Answers]  # by distribution
    distrust: tuple[str, ...]  # caveats, one sentence each


def check(lm: "LanguageModel", *, prompts: int, progress: Callable[[str], None]) -> Checkup:
    """Measure a proved model on the standard distributions; `progress` gets the name of each."""
    answers: dict[str, Answers] = {}
    failures = []
    for name in STANDARD:
        progress(name)
        try:
            with in_words(f"Measuring a {lm.shape.family!r} model"):
                answers[name] = ask(lm, DistributionSpec.parse(name, size=prompts, split="test"))
        except Refused as error:
            failures.append(f"Cannot measure the model on {name}. {error}")
    return Checkup(
        family=lm.shape.family,
        closes=True,
        largest_gap=lm.largest_gap,
        behaviour=answers,
        distrust=(*failures, *_distrust(str(lm.model.dtype), answers), *unread(lm)),
    )


def unread(lm: "LanguageModel") -> Iterator[str]:
    """Caveats about weights that are not loaded and tokens without an embedding."""
    if lm.left_out:
        yield (
            f"Some weights in these files are not loaded, since text does not need them: "
            f"{', '.join(lm.left_out[:3])} ({len(lm.left_out)} in all)."
        )
    tokens, rows = lm.tokenizer.get_vocab_size(), lm.limits.n_embeddings
    if rows is not None and tokens > rows:
        yield (
            f"The tokenizer has {tokens} tokens, but the embedding has {rows} rows: prompts with "
            f"other tokens are refused."
        )


def ask(lm: "LanguageModel", spec: DistributionSpec) -> Answers:
    """Measure the model on a distribution."""
    built = distributions.build(spec)
    prompts = examples(lm.tokenizer, built.prompts)
    scores = behaviour(lm, prompts, BehaviourParams(), lambda _done: None).scores
    keys = {name: ScoreKey(MODEL, Quantity(name)) for name in REPORTED}
    values = {name: scores[key] for name, key in keys.items() if key in scores}
    return Answers(
        **{name: float(each.mean()) for name, each in values.items()},
        intervals=_intervals(values, built.asked),
        n=len(prompts),
        chance=float(np.mean([len(each.correct) / len(each.labels) for each in prompts])),
        warnings=lm.limits.warnings(prompts),
    )


def _intervals(
    values: Mapping[str, NDArray[np.float32]], items: Sequence[str]
) -> dict[str, Interval]:
    results = bootstrap.statistics(
        np.stack(list(values.values())),
        bootstrap.draw(items, seed=0),
        proportion=[name in PROPORTIONS for name in values],
    )
    return {
        name: (each.ci_low, each.ci_high)
        for name, each in zip(values, results, strict=True)
        if each.ci_low is not None and each.ci_high is not None
    }


def _distrust(dtype: str, answers: Mapping[str, Answers]) -> Iterator[str]:
    if dtype != FULL:
        yield (
            f"The weights are in {dtype.removeprefix('torch.')}: numbers are only as precise as "
            f"this dtype, and rounding hides small effects. Add the model in float32 to compare."
        )
    for name, each in answers.items():
        if each.at_chance:
            yield (
                f"On {name} the accuracy of {each.accuracy:.2f} is not above chance "
                f"({each.chance:.2f}): there is no behaviour for heads to explain."
            )
        if each.label_mass < LEAST_LABEL_MASS:
            yield (
                f"On {name} the total probability of all labels is {each.label_mass:.2f}: the "
                f"model mostly answers with something other than a label."
            )
        for warning in each.warnings:
            yield f"On {name}, {warning}"
