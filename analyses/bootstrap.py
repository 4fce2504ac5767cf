"""Means of per-prompt scores with standard errors and intervals, resampling items; plain numpy.

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
ROWS = 64  # scores multiplied at a time: always as many, so that none depends on its neighbours

CONVENTIONS = {
    "intervals": "95 %; the percentile bootstrap over items, with the item's prompts together",
    "intervals of shares of prompts": "where each prompt is 1 or 0, a share of a tie, or a mean of "
    "these over draws of a placebo (for which it is rather too wide): Wilson's, with n divided by "
    "the design effect of items, to which one item that is all right and one that is all wrong are "
    "added; the standard error is half its width over 1.96",
    "items": "prompts that ask and answer the same, but for letter case and spaces, are one item",
}

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """`n` prompts counted, `skipped` left out.

    No mean without a value; no error and no interval with values of fewer than two items.
    """

    n: int
    skipped: int
    mean: float | None
    sem: float | None
    ci_low: float | None
    ci_high: float | None

    @property
    def without_interval(self) -> "Statistics":
        return replace(self, sem=None, ci_low=None, ci_high=None)


@dataclass(frozen=True)
class Draws:
    """Which items each resample holds, and how often: drawn once, for every score alike.

    Items, not prompts, are drawn, since the prompts of one item are not independent.
    """

    item_of_prompt: NDArray[np.int64]
    counts: NDArray[np.float64]  # [item, resample]

    @property
    def n_items(self) -> int:
        return len(self.counts)


def draw(items: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> Draws:
    """The resamples of these prompts' items, numbered in the order in which they first come."""
    numbers = {item: number for number, item in enumerate(dict.fromkeys(items))}
    item_of_prompt = np.array([numbers[item] for item in items], dtype=np.int64)
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = random.integers(0, len(numbers), size=(resamples, len(numbers)))
    counts = np.stack([np.bincount(each, minlength=len(numbers)) for each in drawn], axis=1)
    return Draws(item_of_prompt, counts.astype(np.float64))


def statistics(
    values: NDArray[np.float32], draws: Draws, *, proportion: Sequence[bool] | None = None
) -> list[Statistics]:
    """One per row of `values` [score, prompt], where NaN is a skipped prompt.

    The mean is over prompts. Its standard error treats an item's prompts as one cluster,
    √(I/(I−1) Σ_i (Σ_p∈i x_p − mean)²) / n, which is s/√n when every item has one prompt.
    The interval is the 95 % percentile bootstrap over items. A row that is a `proportion`, of
    prompts that are 1 or 0 or a share of a tie, has the interval and error of `proportions`.
    """
    found: list[Statistics] = []
    for start, rows in zip(range(0, len(values), ROWS), _row_blocks(values), strict=True):
        sums, counts = _by_item(rows, draws)
        resampled = _resampled_means(sums, counts, draws)
        for i in range(len(rows)):
            each = _statistics(sums[i], counts[i], resampled[i], rows.shape[1])
            is_one = proportion is not None and proportion[start + i]
            found.append(_of_proportion(each, sums[i], counts[i]) if is_one else each)
    return found


def resampled_means(values: NDArray[np.float32], draws: Draws) -> NDArray[np.float64]:
    """The mean of every score in every resample, [score, resample]; NaN where all was skipped."""
    blocks = [_resampled_means(*_by_item(rows, draws), draws) for rows in _row_blocks(values)]
    return np.concatenate(blocks) if blocks else np.empty((0, draws.counts.shape[1]))


def summary_statistics(
    summarise: Callable[[Mapping[Key, float]], Mapping[Key, float]],
    keys: Sequence[Key],
    values: NDArray[np.float32],
    draws: Draws,
) -> dict[Key, Statistics]:
    """Numbers made of the means of a run, and their interval, made alike from every resample."""
    every = statistics(values, draws)
    means = {key: each.mean for key, each in zip(keys, every, strict=True) if each.mean is not None}
    point = summarise(means)
    if not point:
        return {}
    resampled = resampled_means(values, draws)
    again = [
        summarise(
            {key: mean for key, mean in zip(keys, column.tolist(), strict=True) if mean == mean}
        )
        for column in resampled.T
    ]
    counted: NDArray[np.bool_] = np.logical_not(np.isnan(values).all(axis=0))
    return {
        key: _of_summary(value, [each[key] for each in again if key in each], counted, draws)
        for key, value in point.items()
    }


def number_statistics(
    numbers: Mapping[Key, float],
    resampled: Iterable[tuple[Key, NDArray[np.float64]]],
    counted: NDArray[np.bool_],
    draws: Draws,
) -> dict[Key, Statistics]:
    """Numbers about the prompts that are `counted`, with intervals where resamples have them."""
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
    """Ratios of the means of two scores, with a paired bootstrap interval.

    Where the denominator's interval includes zero there is no ratio, only the number of prompts.
    """
    if not ratios:
        return {}
    used = dict.fromkeys(key for pair in ratios.values() for key in pair)
    row = {key: number for number, key in enumerate(used)}
    places = {key: number for number, key in enumerate(keys)}
    rows = values[[places[key] for key in used]]
    every, resampled = statistics(rows, draws), resampled_means(rows, draws)
    return {
        key: _ratio(
            every[row[over]], every[row[under]], resampled[row[over]], resampled[row[under]]
        )
        for key, (over, under) in ratios.items()
    }


def _ratio(
    over: Statistics,
    under: Statistics,
    overs: NDArray[np.float64],
    unders: NDArray[np.float64],
) -> Statistics:
    n, skipped = min(over.n, under.n), max(over.skipped, under.skipped)
    nothing = Statistics(n=n, skipped=skipped, mean=None, sem=None, ci_low=None, ci_high=None)
    if over.mean is None or under.mean is None or under.ci_low is None or under.ci_high is None:
        return nothing
    if under.ci_low <= 0 <= under.ci_high:
        return nothing
    there = np.isfinite(overs) & np.isfinite(unders) & (unders != 0)
    again = overs[there] / unders[there]
    low, high = _interval(again)
    return Statistics(
        n=n,
        skipped=skipped,
        mean=over.mean / under.mean,
        sem=float(again.std(ddof=1)),
        ci_low=low,
        ci_high=high,
    )


def _row_blocks(values: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(values), ROWS):
        yield values[start : start + ROWS].astype(np.float64)


def _by_item(
    rows: NDArray[np.float64], draws: Draws
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and numbers of the values of each item, [score, item]."""
    sums = np.zeros((draws.n_items, len(rows)))
    counts = np.zeros((draws.n_items, len(rows)))
    there = ~np.isnan(rows)
    np.add.at(sums, draws.item_of_prompt, np.where(there, rows, 0.0).T)
    np.add.at(counts, draws.item_of_prompt, there.T.astype(np.float64))
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
    there = counts > 0
    interval = proportions.interval(sums[there], counts[there])
    return replace(each, sem=interval.sem, ci_low=interval.low, ci_high=interval.high)


def _of_summary(
    value: float, again: Sequence[float], counted: NDArray[np.bool_], draws: Draws
) -> Statistics:
    """The standard error of a summary is the spread of its resamples."""
    n, skipped = int(counted.sum()), int((~counted).sum())
    sem = ci_low = ci_high = None
    several = len(set(draws.item_of_prompt[counted].tolist())) > 1 and len(again) > 1
    if several and np.isfinite(value):
        resampled = np.array(again)
        sem = float(resampled.std(ddof=1))
        ci_low, ci_high = _interval(resampled)
    return Statistics(n=n, skipped=skipped, mean=value, sem=sem, ci_low=ci_low, ci_high=ci_high)


def _interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    there = resampled[~np.isnan(resampled)]
    low, high = np.percentile(there, INTERVAL)
    return float(low), float(high)
