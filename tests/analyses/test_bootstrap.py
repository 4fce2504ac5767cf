import numpy as np
import pytest

from analyses import bootstrap
from analyses.bootstrap import Statistics

RANDOM = np.random.default_rng(0)
ITEMS = [f"item {number}" for number in range(40)]
VALUES = RANDOM.normal(size=(150, 40)).astype(np.float32)


def test_with_one_prompt_per_item_the_standard_error_is_the_usual_one() -> None:
    (found,) = bootstrap.statistics(VALUES[:1], bootstrap.draw(ITEMS, seed=0))
    values = VALUES[0].astype(np.float64)
    assert found.mean == pytest.approx(values.mean())
    assert found.sem == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    assert found.ci_low == pytest.approx(found.mean - 1.96 * found.sem, abs=0.05)
    assert found.ci_high == pytest.approx(found.mean + 1.96 * found.sem, abs=0.05)


def test_a_repeated_prompt_of_the_same_item_tells_nothing_new() -> None:
    (once,) = bootstrap.statistics(VALUES[:1], bootstrap.draw(ITEMS, seed=0))
    doubled = np.repeat(VALUES[:1], 2, axis=1)
    (twice,) = bootstrap.statistics(doubled, bootstrap.draw(np.repeat(ITEMS, 2).tolist(), seed=0))
    assert twice.n == 2 * once.n
    assert twice.sem == pytest.approx(once.sem)
    assert (twice.ci_low, twice.ci_high) == pytest.approx((once.ci_low, once.ci_high))


def test_the_interval_is_that_of_resampling_by_hand() -> None:
    items = ["a", "a", "b", "c"]
    values = np.array([[1.0, 3.0, 5.0, np.nan]], dtype=np.float32)
    draws = bootstrap.draw(items, seed=3, resamples=50)
    means = []
    for counts in draws.counts.T:
        a, b, _ = counts
        means.append((4 * a + 5 * b) / (2 * a + b) if a + b else np.nan)
    np.testing.assert_allclose(bootstrap.resampled_means(values, draws)[0], means)
    (found,) = bootstrap.statistics(values, draws)
    assert (found.n, found.skipped, found.mean) == (3, 1, 3.0)
    assert (found.ci_low, found.ci_high) == tuple(np.nanpercentile(means, [2.5, 97.5]))


def test_a_score_does_not_depend_on_its_neighbours() -> None:
    draws = bootstrap.draw(ITEMS, seed=0)
    values = VALUES.copy()
    values[::3, ::7] = np.nan
    together = bootstrap.statistics(values, draws)
    alone = [bootstrap.statistics(values[row : row + 1], draws)[0] for row in range(len(values))]
    assert together == alone


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    one, again, other = (
        bootstrap.statistics(VALUES, bootstrap.draw(ITEMS, seed=seed)) for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [np.nan, np.nan],
            Statistics(n=0, skipped=2, mean=None, sem=None, ci_low=None, ci_high=None),
        ),
        ([2.0, np.nan], Statistics(n=1, skipped=1, mean=2.0, sem=None, ci_low=None, ci_high=None)),
    ],
)
def test_too_little_to_resample_has_no_interval(values, expected: Statistics) -> None:
    row = np.array([values], dtype=np.float32)
    assert bootstrap.statistics(row, bootstrap.draw(["a", "b"], seed=0)) == [expected]


def test_a_summary_gets_the_interval_of_its_resamples() -> None:
    draws = bootstrap.draw(ITEMS, seed=0)
    found = bootstrap.summary_statistics(
        lambda means: {"largest": max(means.values())}, ["a", "b", "c"], VALUES[:3], draws
    )["largest"]
    largest = bootstrap.resampled_means(VALUES[:3], draws).max(axis=0)
    assert found.mean == pytest.approx(VALUES[:3].mean(axis=1).max(), abs=1e-6)
    assert (found.ci_low, found.ci_high) == tuple(np.percentile(largest, [2.5, 97.5]))


def test_no_scores_have_no_statistics() -> None:
    assert bootstrap.statistics(np.empty((0, 40), np.float32), bootstrap.draw(ITEMS, seed=0)) == []
