"""Companions of prompts: sources of activations and mutations, and how they differ."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from analyses.errors import Refused
from analyses.plurals import counted
from analyses.prompts import labels, mutations
from analyses.prompts.distributions import Distribution
from analyses.prompts.mutations import Mutation
from analyses.prompts.plans import Plan
from analyses.prompts.prompt import Prompt, prompt_of
from analyses.prompts.streams import Stream


class SourceKind(StrEnum):
    RESAMPLE = "resample"  # another prompt of the distribution with another correct label
    PERMUTE_OPTIONS = "permute_options"  # the options reordered: another correct label
    RANDOMISE_LABELS = "randomise_labels"  # the same options and order with other letters
    POSITION_SYMBOL = "position_symbol"  # the base has the correct label at another position


Companion = SourceKind | Mutation


class Difference(StrEnum):
    QUESTION = "question"
    OPTIONS = "options"  # which, or in which order
    LABELS = "labels"  # which, or in which order
    POSITION = "position"  # of the correct option
    LABEL = "label"  # of the correct option
    SHOTS = "shots"  # which solved questions come first
    WORDING = "wording"  # the prelude or the separators


class NoSource(Refused):
    def __init__(self, prompt: Prompt, size: int) -> None:
        super().__init__(
            f"No source for prompt {prompt.number}: of {counted(size, 'prompt')}, none has a "
            f"correct label other than {prompt.labels[prompt.correct]!r}. Use more prompts."
        )


class OptionsKeepTheirOrder(Refused):
    def __init__(self, kind: Companion, prompts: Sequence[Prompt], size: int) -> None:
        super().__init__(
            f"{len(prompts)} of {size} prompts, such as prompt {prompts[0].number}, have options "
            f"that name others, so {kind.value!r} would make them false. Skip such questions: "
            f"option_references=skip (--option-references skip)."
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A base prompt, its companion, and everything in which they differ."""

    kind: Companion
    base: Prompt
    source: Prompt
    differs: frozenset[Difference]

    @property
    def by_position(self) -> int:
        """The option of the base at the position of the source's correct option."""
        return self.source.correct

    @property
    def by_symbol(self) -> int | None:
        """The option of the base with the label of the source's correct option, or None."""
        symbol = self.source.labels[self.source.correct]
        return self.base.labels.index(symbol) if symbol in self.base.labels else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; the base is given by its number."""
        return {
            "kind": self.kind.value,
            "base": self.base.number,
            "source": asdict(self.source),
            "differs": [each.value for each in Difference if each in self.differs],
        }


Make = Callable[[Distribution, int, Stream], tuple[int, Plan]]  # the source's number and plan


def pairs(distribution: Distribution, kind: Companion, *, seed: int = 0) -> tuple[Pair, ...]:
    """A companion for every prompt, determined by the distribution, kind and seed.

    Raises a `Refused` if a prompt cannot have one.
    """
    _check_order(distribution, kind)
    return tuple(
        _pair(distribution, number, kind, seed) for number in range(len(distribution.prompts))
    )


def _check_order(distribution: Distribution, kind: Companion) -> None:
    """Raises `OptionsKeepTheirOrder`."""
    broken = [
        prompt
        for prompt, plan in zip(distribution.prompts, distribution.plans, strict=True)
        if (order := plan.asked.item.order) is not None
        and (kind in _REORDERS or (order.letters and kind in _RELABELS))
    ]
    if broken:
        raise OptionsKeepTheirOrder(kind, broken, len(distribution.prompts))


def _pair(distribution: Distribution, number: int, kind: Companion, seed: int) -> Pair:
    stream = Stream(distribution.hash, kind.value, seed, number)
    base, wording = distribution.plans[number], distribution.wording
    if isinstance(kind, Mutation):
        of, plan = number, mutations.planned(kind, base, stream)
        wording = mutations.worded(kind, wording)
    else:
        of, plan = _MAKE[kind](distribution, number, stream)
    differs = differences(base, plan)
    return Pair(
        kind=kind,
        base=distribution.prompts[number],
        source=prompt_of(of, plan, wording.write(plan)),
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


def _resample(distribution: Distribution, number: int, stream: Stream) -> tuple[int, Plan]:
    """The first prompt, cyclically from a random one on, with another correct label."""
    plans, size = distribution.plans, len(distribution.plans)
    start = stream.below(size)
    label = plans[number].correct_label
    if plans[start].correct_label != label:
        return start, plans[start]
    other = distribution.next_with_other_label[start]
    if other is None:
        raise NoSource(distribution.prompts[number], size)
    return other, plans[other]


def _permute_options(distribution: Distribution, number: int, stream: Stream) -> tuple[int, Plan]:
    plan = distribution.plans[number]
    position = stream.choice(_others(len(plan.labels), plan.asked.correct))
    return number, _reordered(plan, position, stream)


def _randomise_labels(distribution: Distribution, number: int, stream: Stream) -> tuple[int, Plan]:
    plan = distribution.plans[number]
    return number, replace(plan, labels=labels.other_letters(plan.labels, stream))


def _position_symbol(distribution: Distribution, number: int, stream: Stream) -> tuple[int, Plan]:
    """Move the correct option, and give it a label that the base has at yet another position.

    With three options or more, neither the position nor the symbol leads to the base's own answer.
    With two, the symbol does, as it is unchanged.
    """
    plan = distribution.plans[number]
    correct, k = plan.asked.correct, len(plan.labels)
    position = stream.choice(_others(k, correct))
    symbol = stream.choice(_others(k, position, correct) or [correct])
    rest = stream.shuffled([label for i, label in enumerate(plan.labels) if i != symbol])
    changed = (*rest[:position], plan.labels[symbol], *rest[position:])
    return number, replace(_reordered(plan, position, stream), labels=changed)


_REORDERS = {SourceKind.PERMUTE_OPTIONS, SourceKind.POSITION_SYMBOL}
_RELABELS = {SourceKind.RANDOMISE_LABELS, *mutations.RELABELLED}
_MAKE: dict[SourceKind, Make] = {
    SourceKind.RESAMPLE: _resample,
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
