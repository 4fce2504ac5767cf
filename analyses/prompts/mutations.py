"""Mutations of prompts: the same question, options and order, with other labels or wording."""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from analyses.errors import Refused
from analyses.prompts import labels
from analyses.prompts.own_templates import OwnWording
from analyses.prompts.plans import Plan
from analyses.prompts.separators import SEPARATORS
from analyses.prompts.streams import Stream
from analyses.prompts.templates import Wording

_TRIES = 100  # attempts to draw labels that differ from the prompt's own


class Mutation(StrEnum):
    RANDOM_LETTERS = "random_letters"
    SHUFFLED = "shuffled"  # the prompt's own labels in another order
    ORDERED_LETTERS = "ordered_letters"  # a run of letters from a random start
    NUMBERS = "numbers"
    SYMBOLS = "symbols"
    OTHER_SEPARATORS = "other_separators"  # `A.` in place of `(A)`, and `(A)` in place of others
    NO_PRELUDE = "no_prelude"


class NoMutation(Refused):
    def __init__(self, mutation: Mutation, why: str) -> None:
        super().__init__(
            f"The prompts have no mutation {mutation.value!r}: {why}. Remove it from `mutations`, "
            f"or use prompts of another recipe."
        )


def planned(mutation: Mutation, plan: Plan, stream: Stream) -> Plan:
    """The plan with the mutation's labels; unchanged if only the wording changes."""
    draw = _DRAWS.get(mutation)
    if draw is None:
        return plan
    for _ in range(_TRIES):
        drawn = draw(plan, stream)
        if drawn != plan.labels:
            return replace(plan, labels=drawn)
    raise NoMutation(mutation, f"their labels already are {', '.join(plan.labels)}")


def worded(mutation: Mutation, wording: Wording | OwnWording) -> Wording | OwnWording:
    """The wording with the mutation's separators or without its prelude; otherwise unchanged."""
    if mutation not in (Mutation.OTHER_SEPARATORS, Mutation.NO_PRELUDE):
        return wording
    if isinstance(wording, OwnWording):
        raise NoMutation(mutation, "a template file writes its own separators and prelude")
    if mutation is Mutation.NO_PRELUDE:
        if not wording.prelude:
            raise NoMutation(mutation, "they already have no prelude")
        return replace(wording, prelude="")
    other = "A." if wording.separators == SEPARATORS["(A)"] else "(A)"
    return replace(wording, separators=SEPARATORS[other])


def _scheme(name: str) -> Callable[[Plan, Stream], tuple[str, ...]]:
    return lambda plan, stream: labels.draw(name, len(plan.labels), stream)


_DRAWS: dict[Mutation, Callable[[Plan, Stream], tuple[str, ...]]] = {
    Mutation.RANDOM_LETTERS: _scheme("random_letters"),
    Mutation.SHUFFLED: lambda plan, stream: tuple(stream.shuffled(plan.labels)),
    Mutation.ORDERED_LETTERS: _scheme("ordered_letters"),
    Mutation.NUMBERS: _scheme("numbers"),
    Mutation.SYMBOLS: _scheme("symbols"),
}
RELABELLED = frozenset(_DRAWS)
