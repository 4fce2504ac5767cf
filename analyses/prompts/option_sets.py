"""Sets of options: which distractors go with an answer, and the train/test split of such sets.

The content of a set of options alone, regardless of order, decides whether it belongs to train or
test. So no set of a training prompt ever occurs in a test prompt, whatever the seed, order, labels
or question; the same fact may occur in both, with other options.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import comb

from analyses.prompts.items import Item
from analyses.prompts.spec import Split
from analyses.prompts.streams import Stream, content_hash

ONE_IN = 5  # one set in five is for testing

OptionSet = tuple[str, ...]  # the distractors, in a random order


def half(options: Sequence[str]) -> Split:
    """The split that a set of options belongs to: test for one set in five."""
    return "test" if int(content_hash(sorted(options)), 16) % ONE_IN == 0 else "train"


class OptionSets:
    """The sets of an item that are in a split, each once, in a random order; drawn lazily."""

    def __init__(self, item: Item, *, options: int, split: Split, seed: int) -> None:
        self._all = split == "all" and len(item.distractors) >= options - 1
        self._drawn: list[OptionSet] = []
        self._rest = _sets(item, options - 1, split, Stream(seed, "sets", item.id))

    @property
    def nonempty(self) -> bool:
        """Whether there is a set; draws one only if the split decides that."""
        return self._all or self.get(0) is not None

    def get(self, number: int) -> OptionSet | None:
        """Set `number`, counted from 0, or None if there are fewer."""
        self._drawn += islice(self._rest, max(0, number + 1 - len(self._drawn)))
        return self._drawn[number] if number < len(self._drawn) else None


def _sets(item: Item, k: int, split: Split, stream: Stream) -> Iterator[OptionSet]:
    distractors = item.distractors
    if len(distractors) < k:
        return
    if item.order is not None:
        if split in ("all", half([item.answer, *distractors])):
            yield distractors
        return
    for number in _permutation(comb(len(distractors), k), stream):
        chosen = [distractors[index] for index in _combination(len(distractors), k, number)]
        if split == "all" or half([item.answer, *chosen]) == split:
            yield tuple(stream.shuffled(chosen))


def _permutation(n: int, stream: Stream) -> Iterator[int]:
    """0 to n - 1 in a random order: a Fisher-Yates shuffle that stores only what was moved."""
    moved: dict[int, int] = {}
    for i in range(n):
        j = i + stream.below(n - i)
        yield moved.pop(j, j) if j == i else moved.get(j, j)
        if j != i:
            moved[j] = moved.pop(i, i)


def _combination(n: int, k: int, number: int) -> list[int]:
    """The combination of k of n indices with this number, in lexicographic order."""
    chosen = []
    index = 0
    while k:
        with_index = comb(n - index - 1, k - 1)
        if number < with_index:
            chosen.append(index)
            k -= 1
        else:
            number -= with_index
        index += 1
    return chosen
