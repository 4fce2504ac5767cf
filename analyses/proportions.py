"""Confidence intervals of proportions over items, valid also at 0 and 1; plain numpy.

A bootstrap only draws observed values: for 25 correct answers out of 25 its error is 0. See
docs/methods.md, section 3.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = NormalDist().inv_cdf(0.975)  # of a 95 % interval


class Interval(NamedTuple):
    """A 95 % interval; `sem` is the standard error of a normal interval of the same width."""

    low: float
    high: float

    @property
    def sem(self) -> float:
        return (self.high - self.low) / (2 * Z)


def wilson(p: float, n: float) -> Interval:
    """Wilson's score interval of a proportion `p` of `n` independent trials:

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
    """The Wilson interval of the mean over prompts, with n divided by the design effect.

    `sums` (item) are the correct prompts of each item, `counts` (item) all its prompts.
    """
    n = counts.sum()
    return wilson(float(sums.sum() / n), float(n / design_effect(sums, counts)))


def design_effect(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """How many prompts carry as much information as one independent prompt; 1 if items have one.

    The variance of the mean with items as clusters, over that of independent prompts, at least 1.
    Two pseudo-items of mean size are added, one all correct and one all wrong: if all items agree,
    there is no variance to estimate, and an item carries about as much information as one prompt.
    `sums` and `counts` as in `interval`.
    """
    size = counts.mean()
    sums = np.append(sums, [0.0, size])
    counts = np.append(counts, [size, size])
    n, items = counts.sum(), len(counts)
    p = sums.sum() / n
    of_items = items / (items - 1) * ((sums - p * counts) ** 2).sum() / n**2
    return max(1.0, float(of_items / (p * (1 - p) / (n - 1))))
