"""Which distractors stand beside an answer, and whether such a set is for training or for testing.

A set of options, in no order, belongs to train or to test by its content alone. So no set of a
training prompt is ever seen in a test prompt, under any seed, order, label or question; the fact
itself may be asked in both, beside other options.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import comb

from analyses.prompts.items import Item
from analyses.prompts.spec import Split
from analyses.prompts.streams import Stream, content_hash

ONE_IN = 5  # sets that are for testing

OptionSet = tuple[str, ...]  # the distractors, in a random order


def half(options: Sequence[str]) -> Split:
    """The half that a set of options belongs to: test for one set in five."""
    return "test" if int(content_hash(sorted(options)), 16) % ONE_IN == 0 else "train"


class OptionSets:
    """The sets of an item that are in a split, in a random order, each once; drawn when asked."""

    def __init__(self, item: Item, *, options: int, split: Split, seed: int) -> None:
        self._all = split == "all" and len(item.distractors) >= options - 1
        self._drawn: list[OptionSet] = []
        self._rest = _sets(item, options - 1, split, Stream(seed, "sets", item.id))

    @property
    def there(self) -> bool:
        """Whether there is one; drawn only where the split decides it."""
        return self._all or self.get(0) is not None

    def get(self, number: int) -> OptionSet | None:
        """The set of that number from 0, or None where there are fewer."""
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
    """0 to n - 1 in a random order, without a list of them: Fisher and Yates on what was moved."""
    moved: dict[int, int] = {}
    for i in range(n):
        j = i + stream.below(n - i)
        yield moved.pop(j, j) if j == i else moved.get(j, j)
        if j != i:
            moved[j] = moved.pop(i, i)


def _combination(n: int, k: int, number: int) -> list[int]:
    """The k of n indices that stand at `number` of all, in the order of `comb`."""
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
