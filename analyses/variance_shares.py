"""Shares of variance in every resample of items: docs/methods.md, section 11."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyses.bootstrap import Draws

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ResampledVectors:
    """The item of each vector, and how often each resample contains each item."""

    items: NDArray[np.int64]  # [n]
    draws: Draws

    def within(self, x: NDArray[np.floating], groups: NDArray[np.integer]) -> Numbers:
        """The sum of squares within groups: x [n, …] and groups [n] -> [resample, …].

        For a group g of n_g vectors it is Σ x² - (Σ x)² / n_g, where vectors count as often as
        their item was drawn.
        """
        flat = x.reshape(len(x), -1).astype(np.float64)
        flat = flat - flat.mean(0)
        squares: Numbers = self._sums(flat**2, self.items)
        for group in np.unique(groups):
            members = groups == group
            sums = self._sums(flat[members], self.items[members])
            n = self._sums(np.ones((members.sum(), 1)), self.items[members])
            squares -= np.divide(sums**2, n, out=np.zeros_like(sums), where=n > 0)
        return np.maximum(squares, 0).reshape(-1, *x.shape[1:])

    def _sums(self, values: Numbers, items: NDArray[np.int64]) -> Numbers:
        of_items = np.zeros((self.draws.n_items, values.shape[1]))
        np.add.at(of_items, items, values)
        sums: Numbers = self.draws.counts.T @ of_items
        return sums


def share(part: Numbers, whole: Numbers) -> Numbers:
    """part / whole; 0 if the whole has no variance."""
    ratio: Numbers = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio


def shifted_to_mean(value: float, resampled: Numbers) -> Numbers:
    """Resampled shares, shifted so that their mean equals `value`, and clipped to [0, 1].

    Resamples contain some items twice, and identical vectors vary less within their group, so the
    share between groups is biased upwards in resamples. The shift keeps their spread.
    """
    shifted: Numbers = np.clip(resampled + (value - resampled.mean()), 0.0, 1.0)
    return shifted
