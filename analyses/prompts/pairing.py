"""Makes the companions of all prompts of a distribution."""

from analyses.prompts import completion_sources, question_sources
from analyses.prompts.distributions import (
    CompletionDistribution,
    Distribution,
    QuestionDistribution,
)
from analyses.prompts.sources import Companion, Difference, NoSource, Pair, SourceKind
from analyses.prompts.streams import Stream


def pairs(distribution: Distribution, kind: Companion, *, seed: int = 0) -> tuple[Pair, ...]:
    """A companion for every prompt, determined by the distribution, kind and seed.

    Raises a `Refused` if a prompt cannot have one.
    """
    match distribution:
        case QuestionDistribution():
            question_sources.check(distribution, kind)
        case CompletionDistribution():
            completion_sources.check(distribution, kind)
    return tuple(
        _pair(distribution, number, kind, Stream(distribution.hash, kind.value, seed, number))
        for number in range(len(distribution.prompts))
    )


def _pair(distribution: Distribution, number: int, kind: Companion, stream: Stream) -> Pair:
    if kind is SourceKind.RESAMPLE:
        return _resampled(distribution, number, stream)
    match distribution:
        case QuestionDistribution():
            return question_sources.pair(distribution, number, kind, stream)
        case CompletionDistribution():
            return completion_sources.pair(distribution, number)
    raise TypeError(f"not a distribution of a known kind: {distribution!r}")


def _resampled(distribution: Distribution, number: int, stream: Stream) -> Pair:
    """The first prompt, cyclically from a random one on, with another correct label."""
    prompts = distribution.prompts
    base, other = prompts[number], stream.below(len(prompts))
    if set(prompts[other].correct_labels) == set(base.correct_labels):
        following = distribution.next_with_other_label[other]
        if following is None:
            raise NoSource(base, len(prompts))
        other = following
    return Pair(
        kind=SourceKind.RESAMPLE,
        base=base,
        source=prompts[other],
        differs=_differences(distribution, number, other),
    )


def _differences(distribution: Distribution, one: int, other: int) -> frozenset[Difference]:
    match distribution:
        case QuestionDistribution(plans=plans):
            return question_sources.differences(plans[one], plans[other])
    prompts = distribution.prompts
    return completion_sources.differences(prompts[one], prompts[other])
