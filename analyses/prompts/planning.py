"""Makes plans from a spec and its data: which items, with which options, in which order."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count

from analyses.errors import Refused
from analyses.prompts import labels
from analyses.prompts.data import Data
from analyses.prompts.draw_order import in_rounds
from analyses.prompts.items import Item
from analyses.prompts.option_sets import OptionSet, OptionSets
from analyses.prompts.plans import Plan, Question
from analyses.prompts.spec import DistributionSpec
from analyses.prompts.streams import Stream, rank

SETS_OF_SHOTS = 3  # sets of options that a solved question is drawn from
MOST_DRAWS = 1000  # failed draws of a solved question, if nearly all rows ask the same


_SKIPPED = (
    "{} more are skipped, since one of their options names others; option_references=keep keeps "
    "those whose options can stay in order. "
)


class SizeOutOfRange(Refused):
    def __init__(self, spec: DistributionSpec, available: int, items: int, skipped: int) -> None:
        where = "" if spec.split == "all" else f" in {spec.split}"
        super().__init__(
            f"A size of {spec.size} is not possible: {spec.data!r} has {items} items{where}, which "
            f"give {available} different prompts with {spec.options} options. "
            + (_SKIPPED.format(skipped) if skipped else "")
            + (f"Choose a size from 1 to {available}." if available else "Choose other data.")
        )


class TooManyOptions(Refused):
    def __init__(self, spec: DistributionSpec, few: Sequence[Item], items: int) -> None:
        least = min(len(item.distractors) for item in few) + 1
        super().__init__(
            f"{spec.options} options are not possible: {len(few)} of the {items} items of "
            f"{spec.data!r} have fewer (the fewest: {least}). Use at most {least} options."
        )


class TooManyShots(Refused):
    def __init__(self, spec: DistributionSpec, items: int) -> None:
        super().__init__(
            f"{spec.shots} shots are not possible: each must ask a different question, and "
            f"{spec.data!r} has {items} others (split: {spec.split}). Use fewer shots."
        )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The plans of a spec, and counts of items.

    `left_out` items have no set of that many options in the split. `skipped` items have an option
    that names others and cannot, or should not, be kept in order; for `in_order` items it is kept.
    """

    plans: tuple[Plan, ...]
    left_out: int
    skipped: int
    in_order: int


@dataclass(frozen=True)
class _Drawn:
    """An item with its distractors, drawn for the `lap`-th time."""

    item: Item
    lap: int
    distractors: OptionSet


def plan(spec: DistributionSpec, data: Data) -> Planned:
    """The plans of a spec, in order.

    Raises `SizeOutOfRange`, `TooManyOptions` or `TooManyShots`.
    """
    asked = [item for item in data.items if _may_be_asked(item, spec)]
    few = [item for item in asked if len(item.distractors) < spec.options - 1]
    if data.own and few:
        raise TooManyOptions(spec, few, len(data.items))
    sets = {
        item.id: OptionSets(item, options=spec.options, split=spec.split, seed=spec.seed)
        for item in asked
    }
    items = [item for item in in_rounds(asked, spec.seed) if sets[item.id].nonempty]
    drawn = _draw(items, sets, spec, skipped=len(data.items) - len(asked))
    positions = _positions(drawn, spec)
    shots = _Shots(items, sets, spec)
    order = sorted(drawn, key=lambda each: rank(spec.seed, "order", each.item.id, each.lap))
    return Planned(
        plans=tuple(
            _plan(each, positions.get((each.item.id, each.lap), 0), shots, spec) for each in order
        ),
        left_out=len(asked) - len(items),
        skipped=len(data.items) - len(asked),
        in_order=len({each.item.id for each in drawn if each.item.order}),
    )


def _may_be_asked(item: Item, spec: DistributionSpec) -> bool:
    """Whether options that name others, if any, remain true in the prompt."""
    if item.order is None:
        return True
    whole = len(item.distractors) == spec.options - 1
    named = labels.are_first_letters(spec.labels, spec.options) or not item.order.letters
    return spec.option_references == "keep" and whole and named


def _draw(
    items: Sequence[Item], sets: Mapping[str, OptionSets], spec: DistributionSpec, *, skipped: int
) -> list[_Drawn]:
    """Every item once, then every item again with other options, until there are enough."""
    drawn: list[_Drawn] = []
    for each in _laps(items, sets):
        drawn.append(each)
        if len(drawn) == spec.size:
            return drawn
    raise SizeOutOfRange(spec, len(drawn), len(items), skipped)


def _laps(items: Sequence[Item], sets: Mapping[str, OptionSets]) -> Iterator[_Drawn]:
    asked: set[tuple[str, frozenset[str]]] = set()
    left = list(items)
    for lap in count():
        again = []
        for item in left:
            distractors = sets[item.id].get(lap)
            if distractors is None:
                continue
            again.append(item)
            # Two rows of a file may ask the same question with overlapping options.
            key = item.question, frozenset([item.answer, *distractors])
            if key not in asked:
                asked.add(key)
                yield _Drawn(item, lap, distractors)
        if not again:
            return
        left = again


def _positions(drawn: Sequence[_Drawn], spec: DistributionSpec) -> dict[tuple[str, int], int]:
    """The position of each answer that may be anywhere: all equally often, if the size allows."""
    free = [each for each in drawn if each.item.order is None]
    order = sorted(free, key=lambda each: rank(spec.seed, "position", each.item.id, each.lap))
    # Without the offset, the first labels would get the surplus under every seed.
    offset = Stream(spec.seed, "first position").below(spec.options)
    return {
        (each.item.id, each.lap): (offset + index) % spec.options
        for index, each in enumerate(order)
    }


def _plan(drawn: _Drawn, correct: int, shots: "_Shots", spec: DistributionSpec) -> Plan:
    stream = Stream(spec.seed, "prompt", drawn.item.id, drawn.lap)
    return Plan(
        asked=_question(drawn.item, drawn.distractors, correct),
        labels=labels.draw(spec.labels, spec.options, stream),
        shots=shots.before(drawn.item, stream),
    )


def _question(item: Item, distractors: OptionSet, correct: int) -> Question:
    if item.order is not None:
        correct = item.order.place
    options = (*distractors[:correct], item.answer, *distractors[correct:])
    return Question(item=item, options=options, correct=correct)


class _Shots:
    """Draws solved questions: of the prompt's topic, if there are enough."""

    def __init__(
        self, items: Sequence[Item], sets: Mapping[str, OptionSets], spec: DistributionSpec
    ) -> None:
        questions = len({item.question for item in items})
        if spec.shots and questions <= spec.shots:
            raise TooManyShots(spec, max(0, questions - 1))
        self._items, self._sets, self._spec = items, sets, spec
        self._of_topic: defaultdict[str, list[Item]] = defaultdict(list)
        self._by_question: dict[str | None, Mapping[str, Sequence[Item]]] = {}
        for item in items:
            self._of_topic[item.topic].append(item)

    def before(self, asked: Item, stream: Stream) -> tuple[Question, ...]:
        topic = self._of_topic[asked.topic]
        enough = len(self._asking(asked.topic)) > self._spec.shots
        pool, name = (topic, asked.topic) if enough else (self._items, None)
        chosen = {asked.question}
        shots: list[Question] = []
        while len(shots) < self._spec.shots:
            item = self._other(pool, name, chosen, stream)
            chosen.add(item.question)
            shots.append(self._solved(item, stream))
        return tuple(shots)

    def _other(
        self, pool: Sequence[Item], topic: str | None, chosen: Set[str], stream: Stream
    ) -> Item:
        """An item of the pool whose question was not chosen yet."""
        for _ in range(MOST_DRAWS):
            item = stream.choice(pool)
            if item.question not in chosen:
                return item
        asking = self._asking(topic)
        return stream.choice(
            [each for question in asking if question not in chosen for each in asking[question]]
        )

    def _asking(self, topic: str | None) -> Mapping[str, Sequence[Item]]:
        """The items of a topic, or all items, by question."""
        if topic not in self._by_question:
            by_question: defaultdict[str, list[Item]] = defaultdict(list)
            for item in self._items if topic is None else self._of_topic[topic]:
                by_question[item.question].append(item)
            self._by_question[topic] = by_question
        return self._by_question[topic]

    def _solved(self, item: Item, stream: Stream) -> Question:
        sets = self._sets[item.id]
        distractors = sets.get(stream.below(SETS_OF_SHOTS)) or sets.get(0)
        assert distractors is not None  # items without a set were left out
        return _question(item, distractors, stream.below(self._spec.options))
