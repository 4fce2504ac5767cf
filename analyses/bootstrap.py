"""Means of per-prompt scores with standard errors and intervals by resampling items, in numpy.

The formulas are in docs/methods.md, section 3.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from analyses import proportions

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles
ROWS = 64  # scores per matrix product: a fixed number, so that no result depends on the others

CONVENTIONS = {
    "intervals": "95 %; percentile bootstrap over items, keeping the prompts of an item together",
    "intervals of shares of prompts": "if each prompt is 1 or 0, a share of a tie, or a mean of "
    "these over draws of a placebo (for which it is conservative): Wilson's interval, with n "
    "divided by the design effect of items, after adding one item that is all correct and one "
    "that is all wrong; the standard error is half the width divided by 1.96",
    "items": "prompts with the same question and answer, ignoring case and spaces, are one item",
}

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics over `n` prompts; `skipped` others were left out.

    The mean is None if no prompt has a value; the error and the interval are None if fewer than two
    items have values.
    """

    n: int
    skipped: int
    mean: float | None
    sem: float | None
    ci_low: float | None
    ci_high: float | None

    @property
    def without_interval(self) -> "Statistics":
        """The same statistics without standard error and interval."""
        return replace(self, sem=None, ci_low=None, ci_high=None)


@dataclass(frozen=True)
class Draws:
    """How often each resample contains each item: drawn once and used for every score.

    Items are drawn, not prompts, since the prompts of one item are not independent.
    """

    item_of_prompt: NDArray[np.int64]  # [prompt]
    counts: NDArray[np.float64]  # [item, resample]

    @property
    def n_items(self) -> int:
        return len(self.counts)


def draw(items: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> Draws:
    """Draw resamples of the prompts' items, numbered in order of first occurrence."""
    numbers = {item: number for number, item in enumerate(dict.fromkeys(items))}
    item_of_prompt = np.array([numbers[item] for item in items], dtype=np.int64)
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = random.integers(0, len(numbers), size=(resamples, len(numbers)))
    counts = np.stack([np.bincount(resample, minlength=len(numbers)) for resample in drawn], axis=1)
    return Draws(item_of_prompt, counts.astype(np.float64))


def statistics(
    values: NDArray[np.float32], draws: Draws, *, proportion: Sequence[bool] | None = None
) -> list[Statistics]:
    """Statistics of each row of `values` [score, prompt], where NaN marks a skipped prompt.

    The mean is over prompts. Its standard error treats an item's prompts as one cluster,
    √(I/(I−1) Σ_i (Σ_p∈i x_p − mean)²) / n, which is s/√n when every item has one prompt.
    The interval is the 95 % percentile bootstrap over items. Rows marked in `proportion`, whose
    values are 1, 0 or a share of a tie, get the interval and error of `proportions`.
    """
    results: list[Statistics] = []
    for start, rows in zip(range(0, len(values), ROWS), _row_blocks(values), strict=True):
        sums, counts = _by_item(rows, draws)
        resampled = _resampled_means(sums, counts, draws)
        for i in range(len(rows)):
            each = _statistics(sums[i], counts[i], resampled[i], rows.shape[1])
            is_proportion = proportion is not None and proportion[start + i]
            results.append(_of_proportion(each, sums[i], counts[i]) if is_proportion else each)
    return results


def resampled_means(values: NDArray[np.float32], draws: Draws) -> NDArray[np.float64]:
    """The mean of every score in every resample, [score, resample]; NaN where all are skipped."""
    blocks = [_resampled_means(*_by_item(rows, draws), draws) for rows in _row_blocks(values)]
    return np.concatenate(blocks) if blocks else np.empty((0, draws.counts.shape[1]))


def summary_statistics(
    summarise: Callable[[Mapping[Key, float]], Mapping[Key, float]],
    keys: Sequence[Key],
    values: NDArray[np.float32],
    draws: Draws,
) -> dict[Key, Statistics]:
    """Summary numbers of the means of a run, with intervals from the same summary of resamples."""
    every = statistics(values, draws)
    means = {key: each.mean for key, each in zip(keys, every, strict=True) if each.mean is not None}
    point = summarise(means)
    if not point:
        return {}
    resampled = resampled_means(values, draws)
    summaries = [
        summarise(
            {key: mean for key, mean in zip(keys, column.tolist(), strict=True) if mean == mean}
        )
        for column in resampled.T
    ]
    counted: NDArray[np.bool_] = np.logical_not(np.isnan(values).all(axis=0))
    return {
        key: _of_summary(value, [each[key] for each in summaries if key in each], counted, draws)
        for key, value in point.items()
    }


def number_statistics(
    numbers: Mapping[Key, float],
    resampled: Iterable[tuple[Key, NDArray[np.float64]]],
    counted: NDArray[np.bool_],
    draws: Draws,
) -> dict[Key, Statistics]:
    """Numbers about the prompts in `counted`, with intervals if they have resampled values."""
    known = {
        key: _of_summary(numbers[key], values.tolist(), counted, draws)
        for key, values in resampled
        if key in numbers
    }
    return {
        key: known[key] if key in known else _of_summary(value, (), counted, draws)
        for key, value in numbers.items()
    }


def ratio_statistics(
    ratios: Mapping[Key, tuple[Key, Key]],
    keys: Sequence[Key],
    values: NDArray[np.float32],
    draws: Draws,
) -> dict[Key, Statistics]:
    """Ratios of the means of two scores over the same prompts, with a paired bootstrap interval.

    Prompts without one of the two scores count for neither. If the denominator's interval includes
    zero, there is no ratio, only the number of prompts.
    """
    if not ratios:
        return {}
    places = {key: number for number, key in enumerate(keys)}
    row: dict[bytes, int] = {}  # many ratios have the same denominator
    pairs = {}
    for key, both in ratios.items():
        pair = values[[places[each] for each in both]]
        pair[:, np.isnan(pair).any(axis=0)] = np.nan
        pairs[key] = [row.setdefault(each.tobytes(), len(row)) for each in pair]
    rows = np.stack([np.frombuffer(each, dtype=values.dtype) for each in row])
    every, resampled = statistics(rows, draws), resampled_means(rows, draws)
    return {
        key: _ratio(every[over], every[under], resampled[over], resampled[under])
        for key, (over, under) in pairs.items()
    }


def _ratio(
    top: Statistics,
    bottom: Statistics,
    tops: NDArray[np.float64],
    bottoms: NDArray[np.float64],
) -> Statistics:
    n, skipped = min(top.n, bottom.n), max(top.skipped, bottom.skipped)
    no_ratio = Statistics(n=n, skipped=skipped, mean=None, sem=None, ci_low=None, ci_high=None)
    if top.mean is None or bottom.mean is None or bottom.ci_low is None or bottom.ci_high is None:
        return no_ratio
    if bottom.ci_low <= 0 <= bottom.ci_high:
        return no_ratio
    valid = np.isfinite(tops) & np.isfinite(bottoms) & (bottoms != 0)
    resampled = tops[valid] / bottoms[valid]
    low, high = _interval(resampled)
    return Statistics(
        n=n,
        skipped=skipped,
        mean=top.mean / bottom.mean,
        sem=float(resampled.std(ddof=1)),
        ci_low=low,
        ci_high=high,
    )


def _row_blocks(values: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(values), ROWS):
        yield values[start : start + ROWS].astype(np.float64)


def _by_item(
    rows: NDArray[np.float64], draws: Draws
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and counts of the values of each item, [score, item] each."""
    sums = np.zeros((draws.n_items, len(rows)))
    counts = np.zeros((draws.n_items, len(rows)))
    present = ~np.isnan(rows)
    np.add.at(sums, draws.item_of_prompt, np.where(present, rows, 0.0).T)
    np.add.at(counts, draws.item_of_prompt, present.T.astype(np.float64))
    return sums.T, counts.T


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], draws: Draws
) -> NDArray[np.float64]:
    full = np.zeros((2, ROWS, draws.n_items))
    full[0, : len(sums)], full[1, : len(sums)] = sums, counts
    total, n = full[0] @ draws.counts, full[1] @ draws.counts
    means: NDArray[np.float64] = np.full_like(total, np.nan)
    np.divide(total, n, out=means, where=n > 0)
    return means[: len(sums)]


def _statistics(
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    resampled: NDArray[np.float64],
    n_prompts: int,
) -> Statistics:
    n, n_items = int(counts.sum()), int((counts > 0).sum())
    if n == 0:
        return Statistics(n=0, skipped=n_prompts, mean=None, sem=None, ci_low=None, ci_high=None)
    mean = float(sums.sum() / n)
    sem = ci_low = ci_high = None
    if n_items > 1:
        clusters = sums - mean * counts
        sem = float(np.sqrt(n_items / (n_items - 1) * (clusters**2).sum()) / n)
        ci_low, ci_high = _interval(resampled)
    return Statistics(
        n=n, skipped=n_prompts - n, mean=mean, sem=sem, ci_low=ci_low, ci_high=ci_high
    )


def _of_proportion(
    each: Statistics, sums: NDArray[np.float64], counts: NDArray[np.float64]
) -> Statistics:
    if each.sem is None:
        return each
    counted = counts > 0
    interval = proportions.interval(sums[counted], counts[counted])
    return replace(each, sem=interval.sem, ci_low=interval.low, ci_high=interval.high)


def _of_summary(
    value: float, resampled: Sequence[float], counted: NDArray[np.bool_], draws: Draws
) -> Statistics:
    """The standard error of a summary is the standard deviation of its resampled values."""
    n, skipped = int(counted.sum()), int((~counted).sum())
    sem = ci_low = ci_high = None
    several = len(set(draws.item_of_prompt[counted].tolist())) > 1 and len(resampled) > 1
    if several and np.isfinite(value):
        values = np.array(resampled)
        sem = float(values.std(ddof=1))
        ci_low, ci_high = _interval(values)
    return Statistics(n=n, skipped=skipped, mean=value, sem=sem, ci_low=ci_low, ci_high=ci_high)


def _interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(resampled[~np.isnan(resampled)], INTERVAL)
    return float(low), float(high)
