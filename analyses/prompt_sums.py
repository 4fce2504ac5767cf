"""Sums over prompts that are the same to the last bit, however the prompts are cut into parts.

A sum is two float64 numbers, high and low, that together hold about 106 bits. Adding float32 values
to it is exact as long as the values at one place lie within a factor of 2⁷⁰ of each other, so that
it does not matter in which order they are added.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXIS = "sum"  # the first axis of a tensor that is a sum: high and low

Sum = NDArray[np.float64]


def summed(values: NDArray[Any]) -> Sum:
    """The sum over the first axis, which is `prompt`."""
    nothing = np.zeros_like(values, shape=(2, *values.shape[1:]), dtype=np.float64)
    total = nothing
    for row in values:
        one = nothing.copy()
        one[0] = row
        total = _plus(total, one)
    return total


def added(sums: Iterable[NDArray[Any]]) -> Sum:
    """What sums over some prompts are together."""
    first, *others = sums
    for each in others:
        first = _plus(first, each)
    return first


def mean(total: Sum, count: int) -> NDArray[np.float32]:
    """Of so many prompts."""
    found: NDArray[np.float32] = (total[0] / count).astype(np.float32)
    return found


def _plus(a: Sum, b: Sum) -> Sum:
    """Knuth's sum of the high numbers with its error, which goes to the low ones."""
    high = a[0] + b[0]
    part = high - a[0]
    low = (a[0] - (high - part)) + (b[0] - part) + (a[1] + b[1])
    whole = high + low
    return np.stack([whole, low - (whole - high)])
