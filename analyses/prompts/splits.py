"""Which units of completions are in the test split: one in five, whatever the seed."""

from collections.abc import Iterable
from math import ceil

from analyses.prompts.streams import rank

TEST_SHARE = 0.2


def test_units(units: Iterable[str]) -> frozenset[str]:
    """The units that are in test; the others are in train. A single unit is in train."""
    ranked = sorted(set(units), key=lambda unit: rank("unit", unit))
    return frozenset(ranked[: ceil(TEST_SHARE * len(ranked))] if len(ranked) > 1 else ())
