"""No analysis gives other numbers than before under the same version."""

import json

import numpy as np
import pytest
from golden import FILE, Shipped
from studied import assert_same

from analyses import registry

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return Shipped()


def test_every_analysis_has_its_numbers() -> None:
    ours = {each.name for each in registry.all_analyses() if each.function.startswith("analyses.")}
    assert set(GOLDEN) == ours


@pytest.mark.xdist_group("golden")
@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_change_with_the_version_only(shipped: Shipped, name: str) -> None:
    analysis, golden = registry.find(name), GOLDEN[name]
    assert (analysis.version, registry.ENGINE_VERSION) == (golden["version"], golden["engine"]), (
        "write them anew: python tests/analyses/golden.py"
    )
    numbers = shipped.numbers(analysis)
    found = {name: numbers.get(name) for name in golden["numbers"]}
    assert found == pytest.approx(golden["numbers"], rel=1e-3, abs=1e-4), (
        "raise the version of the analysis, then write the numbers anew"
    )


DISCRETE = ("accuracy", "follows_position", "follows_symbol", "stays", "order", "content_accuracy")


@pytest.mark.xdist_group("golden")
@pytest.mark.parametrize("name", GOLDEN)
def test_the_same_run_twice_is_the_same_to_the_last_bit(shipped: Shipped, name: str) -> None:
    once, again = shipped.measured(name), Shipped().measured(name)
    for (measured, derived), (same, also) in ((once, again),):
        assert_same(measured, same)
        assert derived.numbers == also.numbers
        for key, tensor in derived.tensors.items():
            np.testing.assert_array_equal(tensor.values, also.tensors[key].values)


@pytest.mark.xdist_group("golden")
@pytest.mark.parametrize("name", GOLDEN)
def test_a_proportion_is_from_zero_to_one_in_every_prompt(shipped: Shipped, name: str) -> None:
    analysis, (measured, _) = registry.find(name), shipped.measured(name)
    found = [vector for key, vector in measured.scores.items() if analysis.is_proportion(key)]
    assert found or name == "categorise"
    for vector in found:
        assert 0 <= np.nanmin(vector) <= np.nanmax(vector) <= 1


@pytest.mark.xdist_group("golden")
@pytest.mark.parametrize("name", sorted(set(GOLDEN) - {"bases"}))
def test_another_batch_size_moves_logits_by_less_than_a_ten_thousandth(
    shipped: Shipped, name: str
) -> None:
    """Given the same inputs: what is learnt may turn where two directions matter alike."""
    one, _ = shipped.measured(name)
    other, _ = shipped.again(name, batch_size=3)
    for key, vector in one.scores.items():
        of = key.quantity.varied.get("of")
        if not key.quantity.metric.startswith(DISCRETE) and of not in DISCRETE:
            np.testing.assert_allclose(other.scores[key], vector, atol=1e-4, err_msg=str(key))
