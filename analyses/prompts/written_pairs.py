"""A prompt and its counterfactual as written in a row, and the completions that they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from analyses.errors import shown
from analyses.prompts.bad_rows import Unusable
from analyses.prompts.completions import FEWEST_CANDIDATES, MOST_CANDIDATES, Completion
from analyses.prompts.joints import Why, joined
from analyses.prompts.pair_spans import WrittenSpans, found
from analyses.prompts.raw_row import twice


@dataclass(frozen=True, kw_only=True)
class WrittenText:
    """A text as written; its candidates may have spaces around them.

    A counterfactual without `others` has the candidates of its prompt; and without `correct` also
    those that are correct.
    """

    text: str
    correct: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    spans: WrittenSpans = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WrittenPair:
    """A prompt and its counterfactual, if it has one, as written."""

    asked: WrittenText
    counterfactual: WrittenText | None


class CompletedPair(NamedTuple):
    """The completions of a pair, and why the prompt's candidates follow it as they do."""

    asked: Completion
    counterfactual: Completion | None
    why: Why


def completed(pair: WrittenPair) -> CompletedPair:
    """The completions of a pair. Raises `Unusable`."""
    written = (*pair.asked.correct, *pair.asked.others)
    correct = tuple(range(len(pair.asked.correct)))
    asked, why = _completion(pair.asked, written, correct, "prompt")
    other = pair.counterfactual
    if other is None:
        return CompletedPair(asked, None, why)
    return CompletedPair(asked, _counterfactual(pair.asked, other, written, asked), why)


def _completion(
    given: WrittenText, written: Sequence[str], correct: tuple[int, ...], whose: str
) -> tuple[Completion, Why]:
    text, joint, candidates, why = joined(given.text, written)
    if not FEWEST_CANDIDATES <= len(candidates) <= MOST_CANDIDATES:
        raise Unusable(
            f"the {whose} has {len(candidates)} candidates, and {FEWEST_CANDIDATES} to "
            f"{MOST_CANDIDATES} are allowed"
        )
    if name := twice(candidates):
        raise Unusable(f"the candidate {name} of the {whose} appears twice")
    spans = found(given.spans, text, whose)
    completion = Completion(
        text=text, joint=joint, candidates=candidates, correct=correct, spans=spans
    )
    return completion, why


def _counterfactual(
    of: WrittenText, given: WrittenText, written: Sequence[str], asked: Completion
) -> Completion:
    """The counterfactual of a prompt, as `given`; `written` are the prompt's own candidates."""
    candidates = (*given.correct, *given.others) if given.others else written
    if {each.strip(" ") for each in candidates} == set(asked.candidates):
        candidates = written  # in the order of the prompt's
        correct = _among(given.correct, asked) if given.correct else asked.correct
    else:
        correct = tuple(range(len(given.correct)))
    spanned = WrittenText(text=given.text, spans=_spans(of, given))
    completion, _ = _completion(spanned, candidates, correct, "counterfactual")
    if len(completion.candidates) != len(asked.candidates):
        raise Unusable(
            f"the counterfactual has {len(completion.candidates)} candidates, and the prompt has "
            f"{len(asked.candidates)}"
        )
    if completion.text == asked.text:
        raise Unusable("the counterfactual is the prompt itself")
    return completion


def _among(correct: Sequence[str], asked: Completion) -> tuple[int, ...]:
    """The indices of a counterfactual's correct candidates among those of its prompt."""
    bare = [each.strip(" ") for each in correct]
    for each in bare:
        if each not in asked.candidates:
            raise Unusable(
                f"the counterfactual's correct candidate {shown(each)} is none of the prompt's: "
                f"{shown(list(asked.candidates))}. Add it to them, or give the counterfactual "
                f"candidates of its own"
            )
    if name := twice(bare):
        raise Unusable(f"the candidate {name} of the counterfactual appears twice")
    if len(bare) == len(asked.candidates):
        raise Unusable("all candidates of the counterfactual are correct")
    return tuple(sorted(map(asked.candidates.index, bare)))


def _spans(asked: WrittenText, other: WrittenText) -> WrittenSpans:
    """The spans of a counterfactual: its own, and substrings of the prompt that it has too."""
    if unknown := [name for name in other.spans if name not in asked.spans]:
        raise Unusable(f"the counterfactual has the span {unknown[0]!r}, and the prompt has none")
    for name, span in asked.spans.items():
        if name not in other.spans and (not isinstance(span, str) or span not in other.text):
            raise Unusable(
                f"the span {name!r} of the prompt is not in the counterfactual: give the "
                f"counterfactual spans of its own"
            )
    return {name: other.spans.get(name, span) for name, span in asked.spans.items()}
