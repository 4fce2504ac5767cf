"""Sums over prompts are exact, so that they are the same however the prompts are cut."""

from fractions import Fraction

import numpy as np
import pytest

from analyses import prompt_sums

RANDOM = np.random.default_rng(0)
# As wild as activations never are: 60 binary orders of magnitude at every place.
WILD = (RANDOM.normal(size=(100, 30)) * 2.0 ** RANDOM.integers(-30, 30, (100, 30))).astype("f4")


def test_a_sum_is_exact() -> None:
    total = prompt_sums.summed(WILD)
    for place in range(WILD.shape[1]):
        exact = sum(map(Fraction, WILD[:, place].tolist()))
        assert sum(map(Fraction, total[:, place].tolist())) == exact
        assert total[0, place] == float(exact)


@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_a_sum_is_the_same_however_prompts_are_cut(parts: int) -> None:
    pieces = [prompt_sums.summed(each) for each in np.array_split(WILD, parts)]
    total = prompt_sums.added(reversed(pieces))
    assert total.tobytes() == prompt_sums.summed(WILD).tobytes()


def test_a_mean_is_that_of_numpy_in_double_precision() -> None:
    values = RANDOM.normal(size=(512, 40, 5)).astype(np.float32)
    expected = values.mean(0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(prompt_sums.mean(prompt_sums.summed(values), 512), expected)
