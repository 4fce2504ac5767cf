"""Sums over prompts that are bitwise identical however the prompts are split into parts.

A sum is two float64 numbers, high and low, that together hold about 106 bits. Adding float32 values
to it is exact if the values at one index are within a factor of 2⁷⁰ of each other, so their order
does not matter.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXIS = "sum"  # the first axis of a tensor that is a sum: high and low

Sum = NDArray[np.float64]


def summed(values: NDArray[Any]) -> Sum:
    """The sum of `values` [prompt, …] over prompts: [2, …], high and low."""
    zero = np.zeros_like(values, shape=(2, *values.shape[1:]), dtype=np.float64)
    total = zero
    for row in values:
        addend = zero.copy()
        addend[0] = row
        total = _plus(total, addend)
    return total


def added(sums: Iterable[NDArray[Any]]) -> Sum:
    """The total of sums over disjoint sets of prompts."""
    first, *others = sums
    for each in others:
        first = _plus(first, each)
    return first


def mean(total: Sum, count: int) -> NDArray[np.float32]:
    """The mean of `count` prompts, from their sum."""
    result: NDArray[np.float32] = (total[0] / count).astype(np.float32)
    return result


def _plus(a: Sum, b: Sum) -> Sum:
    """Knuth's two-sum of the high numbers; its rounding error is added to the low ones."""
    high = a[0] + b[0]
    part = high - a[0]
    low = (a[0] - (high - part)) + (b[0] - part) + (a[1] + b[1])
    whole = high + low
    return np.stack([whole, low - (whole - high)])
