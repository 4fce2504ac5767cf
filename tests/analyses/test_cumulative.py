"""Components patched together, the strongest first."""

import numpy as np
import pytest
from completed import read_completions
from studied import assert_same, in_parts, model_of, of, read_for, result, run

from analyses.heads import NoEffects
from analyses.methods.cumulative import (
    GAP,
    SET,
    CumulativeParams,
    area_and_sets,
    cumulative,
    moved,
)
from analyses.methods.patching import PatchingParams, patching
from analyses.prompts.sources import SourceKind
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Result, ScoreKey


@pytest.fixture
def ordered(shared):
    """A family's model, prompts beside their sources, and the effects that order components."""

    def make(family: str, size: int = 6, **choices: object):
        lm = model_of(shared, family)
        params = CumulativeParams(**{"batch_size": 2, **choices})
        prompts = read_for(lm, size=size, kinds=[SourceKind.PERMUTE_OPTIONS])
        alone = PatchingParams(direction=params.direction, batch_size=2)
        return lm, prompts, params, {"effects": result(run(patching, lm, prompts, alone))}

    return make


@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("family", ["gemma2", "llama", "qwen2", "mcq-small"])
def test_all_components_together_are_the_source(ordered, family: str, direction: str) -> None:
    lm, prompts, params, inputs = ordered(family, direction=direction)
    found = run(cumulative, lm, prompts, params, inputs=inputs)
    everything = lm.shape.n_layers * (lm.shape.n_heads + 1)
    for metric in ("logit_diff", "loss"):
        gap = of(found, component=MODEL, metric=metric, condition=GAP.text)
        effect = {"component": SET, "metric": "total_effect", "condition": metric}
        np.testing.assert_allclose(of(found, **effect, x=everything), gap, atol=1e-5)
        np.testing.assert_allclose(of(found, **effect, x=0), 0, atol=1e-5)
        assert np.abs(gap).max() > 100 * 1e-5


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_all_components_of_a_completion_together_are_its_counterfactual(load, direction) -> None:
    lm = model_of(load, "qwen2")
    made = read_completions(lm)
    chosen = {"source": "paired", "direction": direction}
    effects = result(run(patching, lm, made, PatchingParams(**chosen)))
    params = CumulativeParams(**chosen)
    found = run(cumulative, lm, made, params, inputs={"effects": effects})
    (need,) = params.needs(DistributionSpec(data="ioi"))
    assert (need.params["source"], need.params["direction"]) == ("paired", direction)
    for metric in ("logit_diff", "prob_diff"):
        gap = of(found, component=MODEL, metric=metric, condition=GAP.text)
        effect = {"component": SET, "metric": "total_effect", "condition": metric}
        everything = lm.shape.n_layers * (lm.shape.n_heads + 1)
        np.testing.assert_allclose(of(found, **effect, x=everything), gap, atol=1e-5)
        np.testing.assert_allclose(of(found, **effect, x=0), 0, atol=1e-5)
        assert np.abs(gap).max() > 100 * 1e-5


def test_the_first_is_the_strongest_by_itself(ordered) -> None:
    lm, prompts, params, inputs = ordered("llama", most=3)
    found = run(cumulative, lm, prompts, params, inputs=inputs)
    order = {
        key.component: vector[0]
        for key, vector in found.scores.items()
        if key.quantity.metric == "order"
    }
    assert sorted(order.values()) == [1, 2, 3]
    (first,) = (component for component, place in order.items() if place == 1)
    effects = {
        key: mean
        for key, mean in inputs["effects"].means.items()
        if (key.quantity.metric, key.quantity.condition) == ("total_effect", "logit_diff")
    }
    largest = max(effects, key=lambda key: abs(effects[key]))
    assert first == largest.component
    one = of(found, component=SET, metric="total_effect", condition="logit_diff", x=1)
    np.testing.assert_allclose(one, inputs["effects"].scores[largest], atol=1e-5)


def test_what_each_adds_adds_up_to_what_they_do_together(ordered) -> None:
    lm, prompts, params, inputs = ordered("llama", most=4)
    found = run(cumulative, lm, prompts, params, inputs=inputs)
    places = {
        key.component: vector[0]
        for key, vector in found.scores.items()
        if key.quantity.metric == "order"
    }
    added = {
        places[key.component]: vector
        for key, vector in found.scores.items()
        if key.quantity.metric == "added"
    }
    assert sorted(added) == [1, 2, 3, 4]
    effect = {"component": SET, "metric": "total_effect", "condition": "logit_diff"}
    for m in range(1, 5):
        together = sum(added[place] for place in range(1, m + 1))
        np.testing.assert_allclose(together, of(found, **effect, x=m), atol=1e-5)


def test_area_and_smallest_sets_on_paper() -> None:
    def key(metric: str, condition: str, x: float = 0.0, component=SET) -> ScoreKey:
        return ScoreKey(component, Quantity(metric, varied=Varied.read(condition)), x=x)

    way = {key("logit_diff", GAP.text, component=MODEL): 10.0}
    curve = {
        key("total_effect", "logit_diff", x): value for x, value in enumerate((0.0, 5.0, 8.5, 10.5))
    }
    found = area_and_sets(way | curve, CumulativeParams())
    assert found == {
        key("area", "logit_diff"): pytest.approx(0.6),
        key("smallest_set", "logit_diff", 0.8): 2,
        key("smallest_set", "logit_diff", 0.9): 3,
    }
    assert area_and_sets(curve, CumulativeParams()) == {}
    over, under = moved([*way, *curve])[key("moved", "logit_diff", 2)]
    assert (over.x, under.quantity.varied) == (2, GAP)


def test_numbers_do_not_depend_on_how_a_run_is_cut(ordered) -> None:
    lm, prompts, params, inputs = ordered("qwen2", size=12)
    whole = run(cumulative, lm, prompts, params, inputs=inputs)
    assert_same(whole, in_parts(cumulative, lm, prompts, params, 3, inputs=inputs))


def test_the_order_is_learnt_on_the_other_half_where_there_is_one() -> None:
    (need,) = CumulativeParams(direction="noise").needs(DistributionSpec(split="test"))
    assert need.distribution.split == "train"
    assert need.params["direction"] == "noise"
    (need,) = CumulativeParams().needs(DistributionSpec())
    assert need.distribution == DistributionSpec()


def test_without_effects_there_is_no_order(ordered) -> None:
    lm, prompts, params, _ = ordered("llama")
    nothing = Result(scores={}, means={}, tensors={})
    with pytest.raises(NoEffects, match="measured no prompt"):
        run(cumulative, lm, prompts, params, inputs={"effects": nothing})
