"""Intervals of proportions over items, also where all prompts are right or none; plain numpy.

A bootstrap draws nothing but what was seen: of 25 right answers out of 25 it gives an error of 0.
See docs/methods.md, section 3.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = NormalDist().inv_cdf(0.975)  # of a 95 % interval


class Interval(NamedTuple):
    """The ends of a 95 % interval; `sem` is what such an interval has for half its width."""

    low: float
    high: float

    @property
    def sem(self) -> float:
        return (self.high - self.low) / (2 * Z)


def wilson(p: float, n: float) -> Interval:
    """Wilson's score interval of a proportion p among n independent trials:

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)

    >>> low, high = wilson(1.0, 25)
    >>> round(low, 3), high
    (0.867, 1.0)
    """
    middle = p + Z**2 / (2 * n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + Z**2 / n) for sign in (-1, 1))
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def interval(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> Interval:
    """Of items whose prompts, `counts` of each, add up to `sums`; n over the design effect."""
    n = counts.sum()
    return wilson(float(sums.sum() / n), float(n / design_effect(sums, counts)))


def design_effect(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """How many prompts tell as much as one independent prompt; 1 where each item has one.

    The variance of the mean with items as clusters over that of independent prompts, at least 1.
    Two more items of mean size count, one all right and one all wrong: where all items agree, there
    is no variance to see, and each item tells about as much as one prompt.
    """
    size = counts.mean()
    sums = np.append(sums, [0.0, size])
    counts = np.append(counts, [size, size])
    n, items = counts.sum(), len(counts)
    p = sums.sum() / n
    of_items = items / (items - 1) * ((sums - p * counts) ** 2).sum() / n**2
    return max(1.0, float(of_items / (p * (1 - p) / (n - 1))))
