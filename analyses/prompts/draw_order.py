"""The order in which items are drawn: spread evenly over their relations."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar

from analyses.prompts.streams import rank


class Related(Protocol):
    """An item of a relation, such as a table of facts or a template."""

    @property
    def id(self) -> str: ...

    @property
    def relation(self) -> str: ...


Some = TypeVar("Some", bound=Related)


def in_rounds(items: Sequence[Some], seed: int) -> list[Some]:
    """One item of each relation, then a second of each, and so on.

    This spreads a sample over all relations, and a larger size keeps the items of a smaller one.
    """
    taken: Counter[str] = Counter()
    rounds: list[tuple[int, bytes, Some]] = []
    for item in sorted(items, key=lambda item: rank(seed, "item", item.id)):
        relation = item.relation
        rounds.append((taken[relation], rank(seed, "relation", relation), item))
        taken[relation] += 1
    return [item for *_, item in sorted(rounds, key=lambda entry: entry[:2])]
