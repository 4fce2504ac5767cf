"""Multiple-choice questions of a recipe, and their pairs, typed as such."""

from typing import Any

from analyses.prompts.distributions import DistributionSpec, QuestionDistribution, build
from analyses.prompts.prompt import QuestionPrompt
from analyses.prompts.sources import Pair, SourceKind

# The kinds of source that questions have.
SOURCES = tuple(kind for kind in SourceKind if kind is not SourceKind.PAIRED)


def questions(spec: DistributionSpec, **limits: Any) -> QuestionDistribution:
    """The questions of a recipe."""
    built = build(spec, **limits)
    assert isinstance(built, QuestionDistribution)
    return built


def base_and_source(pair: Pair) -> tuple[QuestionPrompt, QuestionPrompt]:
    """The two questions of a pair."""
    base, source = pair.base, pair.source
    assert isinstance(base, QuestionPrompt)
    assert isinstance(source, QuestionPrompt)
    return base, source
