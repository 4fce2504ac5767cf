"""Companions of completions: their counterfactuals."""

from analyses.prompts.distributions import CompletionDistribution
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import (
    Companion,
    Difference,
    NoCounterfactual,
    OnlyOfQuestions,
    Pair,
    SourceKind,
)


def check(distribution: CompletionDistribution, kind: Companion) -> None:
    """Raises `OnlyOfQuestions` or `NoCounterfactual`."""
    if kind not in (SourceKind.PAIRED, SourceKind.RESAMPLE):
        raise OnlyOfQuestions(kind, distribution.spec.data)
    if kind is SourceKind.PAIRED and None in distribution.counterfactuals:
        raise NoCounterfactual(distribution.spec.data)


def pair(distribution: CompletionDistribution, number: int) -> Pair:
    """A prompt and its counterfactual."""
    base, source = distribution.prompts[number], distribution.counterfactuals[number]
    assert source is not None  # `check` has passed
    return Pair(kind=SourceKind.PAIRED, base=base, source=source, differs=differences(base, source))


def differences(one: Prompt, other: Prompt) -> frozenset[Difference]:
    """Everything in which two completions differ."""
    pairs = {
        Difference.LABELS: (one.labels, other.labels),
        Difference.LABEL: (set(one.correct_labels), set(other.correct_labels)),
        Difference.TEXT: (one.text, other.text),
    }
    return frozenset(each for each, (left, right) in pairs.items() if left != right)
