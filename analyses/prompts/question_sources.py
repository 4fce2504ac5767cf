"""Companions of multiple-choice questions: other options, labels or wording."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from analyses.errors import Refused
from analyses.prompts import labels, mutations
from analyses.prompts.distributions import QuestionDistribution
from analyses.prompts.mutations import Mutation
from analyses.prompts.plans import Plan
from analyses.prompts.prompt import Prompt, prompt_of
from analyses.prompts.sources import Companion, Difference, NotOfQuestions, Pair, SourceKind
from analyses.prompts.streams import Stream


class OptionsKeepTheirOrder(Refused):
    def __init__(self, kind: Companion, prompts: Sequence[Prompt], size: int) -> None:
        super().__init__(
            f"{len(prompts)} of {size} prompts, such as prompt {prompts[0].number}, have options "
            f"that name others, so {kind.value!r} would make them false. Skip such questions: "
            f"option_references=skip (--option-references skip)."
        )


Change = Callable[[Plan, Stream], Plan]


def check(distribution: QuestionDistribution, kind: Companion) -> None:
    """Raises `NotOfQuestions` or `OptionsKeepTheirOrder`."""
    if kind is SourceKind.PAIRED:
        raise NotOfQuestions(kind, distribution.spec.data)
    broken = [
        prompt
        for prompt, plan in zip(distribution.prompts, distribution.plans, strict=True)
        if (order := plan.asked.item.order) is not None
        and (kind in _REORDERS or (order.letters and kind in _RELABELS))
    ]
    if broken:
        raise OptionsKeepTheirOrder(kind, broken, len(distribution.prompts))


def pair(distribution: QuestionDistribution, number: int, kind: Companion, stream: Stream) -> Pair:
    """The companion of a prompt that is a change of it."""
    base, wording = distribution.plans[number], distribution.wording
    if isinstance(kind, Mutation):
        plan = mutations.planned(kind, base, stream)
        wording = mutations.worded(kind, wording)
    else:
        plan = _CHANGES[kind](base, stream)
    differs = differences(base, plan)
    return Pair(
        kind=kind,
        base=distribution.prompts[number],
        source=prompt_of(number, plan, wording.write(plan)),
        differs=differs if wording == distribution.wording else differs | {Difference.WORDING},
    )


def differences(one: Plan, other: Plan) -> frozenset[Difference]:
    """Everything in which two plans differ."""
    pairs = {
        Difference.QUESTION: (one.asked.item.question, other.asked.item.question),
        Difference.OPTIONS: (one.asked.options, other.asked.options),
        Difference.LABELS: (one.labels, other.labels),
        Difference.POSITION: (one.asked.correct, other.asked.correct),
        Difference.LABEL: (one.correct_label, other.correct_label),
        Difference.SHOTS: (one.shots, other.shots),
    }
    return frozenset(each for each, (left, right) in pairs.items() if left != right)


def _permute_options(plan: Plan, stream: Stream) -> Plan:
    position = stream.choice(_others(len(plan.labels), plan.asked.correct))
    return _reordered(plan, position, stream)


def _randomise_labels(plan: Plan, stream: Stream) -> Plan:
    return replace(plan, labels=labels.other_letters(plan.labels, stream))


def _position_symbol(plan: Plan, stream: Stream) -> Plan:
    """Move the correct option, and give it a label that the base has at yet another position.

    With three options or more, neither the position nor the symbol leads to the base's own answer.
    With two, the symbol does, as it is unchanged.
    """
    correct, k = plan.asked.correct, len(plan.labels)
    position = stream.choice(_others(k, correct))
    symbol = stream.choice(_others(k, position, correct) or [correct])
    rest = stream.shuffled([label for i, label in enumerate(plan.labels) if i != symbol])
    changed = (*rest[:position], plan.labels[symbol], *rest[position:])
    return replace(_reordered(plan, position, stream), labels=changed)


_REORDERS = {SourceKind.PERMUTE_OPTIONS, SourceKind.POSITION_SYMBOL}
_RELABELS = {SourceKind.RANDOMISE_LABELS, *mutations.RELABELLED}
_CHANGES: dict[SourceKind, Change] = {
    SourceKind.PERMUTE_OPTIONS: _permute_options,
    SourceKind.RANDOMISE_LABELS: _randomise_labels,
    SourceKind.POSITION_SYMBOL: _position_symbol,
}


def _others(k: int, *without: int) -> list[int]:
    return [position for position in range(k) if position not in without]


def _reordered(plan: Plan, correct: int, stream: Stream) -> Plan:
    """The same question, with its answer at `correct` and the other options shuffled."""
    asked = plan.asked
    others: Sequence[str] = [
        option for index, option in enumerate(asked.options) if index != asked.correct
    ]
    mixed = stream.shuffled(others)
    options = (*mixed[:correct], asked.options[asked.correct], *mixed[correct:])
    return replace(plan, asked=replace(asked, options=options, correct=correct))
