"""Completions: texts with the candidates that may continue them, and their counterfactuals."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analyses.prompts.written import Span

FEWEST_CANDIDATES, MOST_CANDIDATES = 2, 100


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A text, and the candidates that continue it after `joint`, which is a space or empty.

    `correct` are the indices of the correct candidates, at least one and not all. `spans` are the
    named parts of the text, such as the names of two persons.
    """

    text: str
    joint: str
    candidates: tuple[str, ...]
    correct: tuple[int, ...]
    spans: Mapping[str, Span] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CompletionItem:
    """A completion with its counterfactual, if it has one; `id` is `relation/subject`.

    Prompts are spread evenly over relations. Items of one `unit` are all in the train split or all
    in the test split. `asks` is what the item asks in whatever words, such as the capital of a
    country: items that ask the same are not independent; empty: only this text asks it. `groups`
    are how answers are broken down: by template, by order. `where` is the row of the user's file.
    """

    id: str
    topic: str
    unit: str
    asked: Completion
    counterfactual: Completion | None
    asks: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    where: str = field(default="", compare=False)

    @property
    def relation(self) -> str:
        """The group of similar items that it belongs to, such as those of one template."""
        return self.id.partition("/")[0]
