"""Shares of variance in every resample of the vectors' items: docs/methods.md, section 11."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyses.bootstrap import Draws

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ResampledVectors:
    """The item of each vector, and how often each resample holds it."""

    items: NDArray[np.int64]  # [n]
    draws: Draws

    def within(self, x: NDArray[np.floating], groups: NDArray[np.integer]) -> Numbers:
        """Squared distances from the means of groups, summed: [n, …] -> [resample, …].

        Of a group g with n_g vectors it is Σ x² - (Σ x)² / n_g, where vectors count as often as
        their item was drawn.
        """
        flat = x.reshape(len(x), -1).astype(np.float64)
        flat = flat - flat.mean(0)
        found: Numbers = self._sums(flat**2, self.items)
        for group in np.unique(groups):
            mine = groups == group
            sums = self._sums(flat[mine], self.items[mine])
            n = self._sums(np.ones((mine.sum(), 1)), self.items[mine])
            found -= np.divide(sums**2, n, out=np.zeros_like(sums), where=n > 0)
        return np.maximum(found, 0).reshape(-1, *x.shape[1:])

    def _sums(self, values: Numbers, items: NDArray[np.int64]) -> Numbers:
        of_items = np.zeros((self.draws.n_items, values.shape[1]))
        np.add.at(of_items, items, values)
        sums: Numbers = self.draws.counts.T @ of_items
        return sums


def share(part: Numbers, whole: Numbers) -> Numbers:
    """One over the other; 0 where there is no variance."""
    found: Numbers = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found


def about(value: float, resampled: Numbers) -> Numbers:
    """Resampled shares, shifted so that their mean is the share itself.

    A resample holds some items twice, and equal vectors vary less within their group: shares that
    lie between groups are larger in every resample than in the data. Their spread is preserved.
    """
    moved: Numbers = np.clip(resampled + (value - resampled.mean()), 0.0, 1.0)
    return moved
