"""Intervals of proportions: those of scipy where prompts are independent, honest at 0 and 1."""

import numpy as np
import pytest
from scipy.stats import binomtest

from analyses import bootstrap, proportions, registry
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, ScoreKey


def told(values: np.ndarray, items: list[str]) -> bootstrap.Statistics:
    draws = bootstrap.draw(items, seed=0)
    (found,) = bootstrap.statistics(values[None].astype(np.float32), draws, proportion=[True])
    return found


@pytest.mark.parametrize(("right", "n"), [(25, 25), (0, 25), (24, 25), (13, 64), (1, 2), (2, 2)])
def test_with_one_prompt_per_item_it_is_the_interval_of_scipy(right: int, n: int) -> None:
    found = told(np.arange(n) < right, [str(number) for number in range(n)])
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert found.mean == pytest.approx(right / n)
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.sem == pytest.approx((expected.high - expected.low) / (2 * 1.959964), rel=1e-6)
    assert found.sem > 0


@pytest.mark.parametrize("right", [25, 0, 12])
def test_prompts_of_an_item_that_agree_tell_what_one_prompt_tells(right: int) -> None:
    items = np.repeat(np.arange(25), 4)
    found = told(items < right, items.astype(str).tolist())
    alone = binomtest(right, 25).proportion_ci(method="wilson")
    assert (found.ci_low, found.ci_high) == pytest.approx((alone.low, alone.high), abs=0.01)


def test_one_wrong_prompt_of_many_says_less_than_a_whole_item() -> None:
    """From one item that is all wrong to none, the interval goes to 1 without a jump."""
    items = np.repeat(np.arange(25), 4).astype(str).tolist()
    low = [told(np.arange(100) >= wrong, items).ci_low for wrong in (4, 3, 2, 1, 0)]
    assert low[0] < low[1] < low[2] < low[3] == pytest.approx(low[4], abs=0.005)


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_about_95_in_100_intervals_hold_the_truth(alike: float, p: float) -> None:
    """Of 30 items with four prompts, which agree with the chance `alike`."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        first = random.random((30, 1)) < p
        own = random.random((30, 4)) < p
        values = np.where(random.random((30, 1)) < alike, first, own)
        low, high = proportions.interval(values.sum(1).astype(float), np.full(30, 4.0))
        held += low <= p <= high
    assert held / 600 > 0.92


def test_shares_of_ties_are_never_surer_than_answers() -> None:
    """Four options that all tie in every prompt: a quarter, as sure as answers of that share."""
    found = told(np.full(24, 0.25), [str(number) for number in range(24)])
    expected = binomtest(6, 24).proportion_ci(method="wilson")
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high))


def test_what_is_skipped_counts_for_nothing() -> None:
    values = np.array([1, 1, np.nan, 1, np.nan])
    found = told(values, ["a", "b", "b", "c", "d"])
    assert (found.n, found.skipped) == (3, 2)
    assert (found.ci_low, found.ci_high) == pytest.approx(proportions.wilson(1, 3)[:2])
    alone = told(np.array([1, np.nan]), ["a", "b"])
    assert (alone.sem, alone.ci_low, alone.ci_high) == (None, None, None)


@pytest.mark.parametrize(
    ("analysis", "metric", "condition", "is_one"),
    [
        ("behaviour", "accuracy", "position=2", True),
        ("behaviour", "content_accuracy", "", True),
        ("behaviour", "label_mass", "", False),
        ("patching", "accuracy", "base", True),
        ("patching", "accuracy", "source - base", False),
        ("cumulative", "accuracy", "source - base", False),
        ("label_randomisation", "follows_position", "interchange", True),
    ],
)
def test_a_proportion_is_declared_and_a_difference_is_none(
    analysis: str, metric: str, condition: str, is_one: bool
) -> None:
    key = ScoreKey(MODEL, Quantity(metric, varied=Varied.read(condition)))
    assert registry.find(analysis).is_proportion(key) == is_one
