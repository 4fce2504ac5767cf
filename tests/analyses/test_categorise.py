"""Categories of heads from what they attend to and what they change, on paper."""

from collections.abc import Mapping

import numpy as np
import pytest
from studied import of

from analyses import bootstrap
from analyses.categories import Category
from analyses.methods.categorise import CategoriseParams, categories, categorise
from analyses.prompts.prompt import Prompt
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, Result, ScoreKey

MLP = Component(kind=Kind.MLP, layer=3)


def head(index: int, layer: int = 3) -> Component:
    return Component(kind=Kind.HEAD, layer=layer, index=index)


def means_of(
    component: Component,
    *,
    total: float = 1.0,
    direct: float = 1.0,
    labels: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    **weights: float,
) -> dict[ScoreKey, float]:
    """The means of a head that attends so."""
    groups = {"correct_label": 0.0, "contents": 0.0, "ends": 0.0, "last": 0.0} | weights
    groups["labels"] = sum(labels)
    groups |= {f"label_{place}": weight for place, weight in enumerate(labels)}
    found = {
        ScoreKey(component, Quantity("weight", varied={"keys": group})): weight
        for group, weight in groups.items()
    }
    for metric, effect in (("total_effect", total), ("direct_effect", direct)):
        key = ScoreKey(component, Quantity(metric, "z", {"of": "logit_diff"}))
        found[key] = effect
    return found


EVEN = (0.2, 0.2, 0.2, 0.2)
CASES: Mapping[str, tuple[dict[str, object], Category]] = {
    "reads the right one": ({"labels": EVEN, "correct_label": 0.7}, Category.CORRECT_LETTER),
    "reads the first": (
        {"labels": (0.7, 0.1, 0.1, 0.0), "correct_label": 0.2},
        Category.SINGLE_LETTER,
    ),
    "reads all alike": ({"labels": EVEN, "correct_label": 0.2}, Category.UNIFORM),
    "looks at the end": ({"last": 0.8, "direct": -1.0}, Category.AMPLIFICATION),
    "looks at the end and lowers": ({"last": 0.8, "direct": 1.0}, Category.OTHER),
    "gathers": ({"contents": 0.3, "ends": 0.2, "direct": 0.1}, Category.CONTENT_GATHERER),
    "writes what it gathers": ({"contents": 0.5, "direct": 0.9}, Category.OTHER),
    "reads labels unevenly": (
        {"labels": (0.5, 0.4, 0.0, 0.0), "correct_label": 0.25},
        Category.OTHER,
    ),
}


@pytest.mark.parametrize(("reads", "expected"), CASES.values(), ids=list(CASES))
def test_a_head_gets_the_first_category_that_fits(reads, expected) -> None:
    found = categories(means_of(head(0), **reads), CategoriseParams())
    named = {
        key.quantity.condition: value
        for key, value in found.items()
        if key.quantity.metric == "category"
    }
    assert named == {each.value: float(each is expected) for each in Category}


def test_an_early_head_does_not_amplify() -> None:
    means = means_of(head(0, layer=0), last=0.8, direct=-1.0)
    means |= means_of(head(0), last=0.8, direct=-1.0)
    found = categories(means, CategoriseParams())
    amplifies = {
        key.component.layer: value
        for key, value in found.items()
        if key.quantity.condition == Category.AMPLIFICATION and key.quantity.metric == "category"
    }
    assert amplifies == {0: 0.0, 3: 1.0}


def test_importance_is_shared_out_and_what_lies_outside_is_told() -> None:
    means = (
        means_of(head(0), total=-5.0, labels=EVEN, correct_label=0.7)
        | means_of(head(1), total=2.0)
        | means_of(head(2), total=0.1)
        | {ScoreKey(MLP, Quantity("total_effect", "mlp_out", {"of": "logit_diff"})): 2.9}
    )
    found = categories(means, CategoriseParams(importance=0.05))
    importance = {
        key.quantity.condition: round(value, 6)
        for key, value in found.items()
        if key.component == MODEL
    }
    expected = {"correct_letter": 0.5, "other": 0.2, "minor": 0.01, "mlps": 0.29, "outside": 0.5}
    assert {name: value for name, value in importance.items() if value} == expected
    assert {key.component for key in found} == {MODEL, head(0), head(1)}


def test_the_interval_says_whether_a_category_is_sure() -> None:
    """A head at the threshold is in and out of its category from resample to resample."""
    rng = np.random.default_rng(0)
    keys = list(means_of(head(0), labels=EVEN))
    values = np.stack(
        [np.full(40, each, dtype=np.float32) for each in means_of(head(0), labels=EVEN).values()]
    )
    correct = [key.quantity.condition for key in keys].index("keys=correct_label")
    values[correct] = 0.32 + 0.1 * rng.standard_normal(40)  # twice the others' is a third of 0.8
    draws = bootstrap.draw([str(n) for n in range(40)], seed=0)
    found = bootstrap.summary_statistics(
        lambda means: categories(means, CategoriseParams()), keys, values, draws
    )
    key = ScoreKey(head(0), Quantity("category", varied=Varied.read(Category.CORRECT_LETTER.value)))
    assert (found[key].ci_low, found[key].ci_high) == (0.0, 1.0)


def test_nothing_that_matters_is_no_category() -> None:
    assert categories(means_of(head(0), total=0.0), CategoriseParams()) == {}


def test_it_hands_on_what_its_inputs_measured_of_its_own_prompts() -> None:
    means = means_of(head(0))
    vectors = {key: np.arange(6, dtype=np.float32) for key in means}
    attention, effects = (
        Result(
            scores={
                key: each for key, each in vectors.items() if (key.quantity.site == "z") == patched
            },
            means={},
            tensors={},
        )
        for patched in (False, True)
    )
    prompts = [Numbered(number) for number in (2, 3, 5)]
    done: list[int] = []
    found = categorise(
        None,
        prompts,
        CategoriseParams(),
        done.append,
        inputs={"attention": attention, "effects": effects},
    )
    assert found.scores.keys() == set(means)
    for vector in found.scores.values():
        np.testing.assert_array_equal(vector, [2, 3, 5])
    assert done == [3]
    assert of(found, component=head(0), metric="weight", condition="keys=last")[0] == 2


class Numbered(Prompt):
    """A prompt of which only its number is asked."""

    def __init__(self, number: int) -> None:
        object.__setattr__(self, "number", number)


def test_it_needs_attention_and_effects_on_the_same_prompts() -> None:
    spec = DistributionSpec(data="colours", size=20)
    needs = CategoriseParams(source="resample", prompts="known").needs(spec)
    assert [each.analysis for each in needs] == ["attention", "patching"]
    assert {each.distribution for each in needs} == {spec}
    assert {each.params["prompts"] for each in needs} == {"known"}
    assert needs[1].params["source"] == "resample"
