"""Companions of prompts: sources of activations and mutations, and how they differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from analyses.errors import Refused
from analyses.plurals import counted
from analyses.prompts.mutations import Mutation
from analyses.prompts.prompt import Prompt
from analyses.prompts.spec import DistributionSpec


class SourceKind(StrEnum):
    RESAMPLE = "resample"  # another prompt of the distribution with another correct label
    PERMUTE_OPTIONS = "permute_options"  # the options reordered: another correct label
    RANDOMISE_LABELS = "randomise_labels"  # the same options and order with other letters
    POSITION_SYMBOL = "position_symbol"  # the base has the correct label at another position
    PAIRED = "paired"  # the prompt's own counterfactual


Companion = SourceKind | Mutation


def usual_source(spec: DistributionSpec) -> Mapping[str, str]:
    """The parameter `source`, where a request leaves it out and it is not the default."""
    return {"source": SourceKind.PAIRED.value} if spec.kind == "completions" else {}


class Difference(StrEnum):
    QUESTION = "question"
    OPTIONS = "options"  # which, or in which order
    LABELS = "labels"  # which, or in which order
    POSITION = "position"  # of the correct option
    LABEL = "label"  # of the correct option
    SHOTS = "shots"  # which solved questions come first
    WORDING = "wording"  # the prelude or the separators
    TEXT = "text"  # of a completion


class NoSource(Refused):
    def __init__(self, prompt: Prompt, size: int) -> None:
        labels = " or ".join(map(repr, prompt.correct_labels))
        super().__init__(
            f"No source for prompt {prompt.number}: of {counted(size, 'prompt')}, none has a "
            f"correct label other than {labels}. Use more prompts."
        )


class NotOfQuestions(Refused):
    def __init__(self, kind: Companion, data: str) -> None:
        super().__init__(
            f"Multiple-choice questions have no counterfactual, so {kind.value!r} is not possible "
            f"with {data!r}. Choose permute_options, randomise_labels or resample, or data of "
            f"completions."
        )


class OnlyOfQuestions(Refused):
    def __init__(self, kind: Companion, data: str) -> None:
        super().__init__(
            f"{kind.value!r} changes the options or labels of multiple-choice questions, and "
            f"{data!r} has completions. Choose paired (the counterfactual of each prompt) or "
            f"resample."
        )


class NoCounterfactual(Refused):
    def __init__(self, data: str) -> None:
        super().__init__(
            f"The prompts of {data!r} have no counterfactual, so the source 'paired' is not "
            f"possible. Add a column of counterfactuals to the data, or choose resample."
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A base prompt, its companion, and everything in which they differ."""

    kind: Companion
    base: Prompt
    source: Prompt
    differs: frozenset[Difference]

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; the base is given by its number."""
        return {
            "kind": self.kind.value,
            "base": self.base.number,
            "source": self.source.to_json(),
            "differs": [each.value for each in Difference if each in self.differs],
        }
