"""Movers, suppressors, gatherers and amplifiers of completions, on paper."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from persons import completed

from analyses.categories import Role
from analyses.methods.categorise import (
    STORES,
    CategoriseParams,
    LettersOfQuestionsOnly,
    categories,
    categorise,
    warned,
)
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.results import Component, Kind, Result, ScoreKey


def means_of(
    *, layer: int = 3, total: float = -1.0, direct: float = -1.0, io: float = 0.0, s: float = 0.0
) -> dict[ScoreKey, float]:
    """The means of a head that attends so to the correct candidate and to the other one."""
    head = Component(kind=Kind.HEAD, layer=layer, index=0)
    weights = {"correct_label": io, "other_labels": s}
    effects = {"total_effect": total, "direct_effect": direct}
    return {
        **{
            ScoreKey(head, Quantity("weight", varied={"keys": group})): weight
            for group, weight in weights.items()
        },
        **{
            ScoreKey(head, Quantity(metric, "z", {"of": "logit_diff"})): effect
            for metric, effect in effects.items()
        },
    }


CASES: Mapping[str, tuple[dict[str, Any], Role]] = {
    "writes what it reads": ({"io": 0.5, "s": 0.1}, Role.MOVER),
    "writes it down": ({"io": 0.5, "s": 0.1, "direct": 0.8, "total": 0.5}, Role.SUPPRESSOR),
    "writes nothing itself": ({"io": 0.5, "direct": -0.2}, Role.GATHERER),
    "looks at the subject and acts on others": ({"s": 0.9, "direct": 0.1}, Role.GATHERER),
    "looks elsewhere": ({}, Role.AMPLIFIER),
    "reads both alike": ({"io": 0.3, "s": 0.2}, Role.AMPLIFIER),
    "hardly reads either": ({"io": 0.2}, Role.AMPLIFIER),
    "looks elsewhere, early": ({"layer": 0}, Role.OTHER),
    "looks elsewhere and lowers": ({"direct": 1.0}, Role.OTHER),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=list(CASES))
def test_a_head_gets_the_first_role_that_fits(given: dict[str, Any], expected: Role) -> None:
    deepest = {key: 1e-6 * mean for key, mean in means_of().items()}
    deepest = {
        ScoreKey(Component(kind=Kind.HEAD, layer=3, index=1), key.quantity): mean
        for key, mean in deepest.items()
    }
    found = categories({**deepest, **means_of(**given)}, CategoriseParams())
    roles = {
        key.quantity.condition: value
        for key, value in found.items()
        if key.quantity.metric == "category"
    }
    assert roles == {each.value: float(each is expected) for each in Role}
    importance = {
        key.quantity.condition: value
        for key, value in found.items()
        if key.quantity.metric == "importance"
    }
    assert importance.keys() == {*map(str, Role), "minor", "mlps", "outside"}
    assert importance[expected.value] == pytest.approx(1, abs=1e-5)
    assert [key for key in found if not any(key in said for said in STORES)] == []


def test_thresholds_are_parameters() -> None:
    means = means_of(io=0.2, s=0.15)
    params = CategoriseParams(on_labels=0.1, correct_over_others=1.2)
    found = categories(means, params)
    assert next(key.quantity.condition for key, value in found.items() if value == 1.0) == "mover"


def test_texts_without_the_correct_candidate_have_no_movers_and_it_is_said() -> None:
    (said,) = warned(means_of(s=0.5), CategoriseParams())
    assert "no head can be a mover or a suppressor" in said
    assert warned(means_of(io=0.5), CategoriseParams()) == []
    questions = {
        ScoreKey(key.component, Quantity("weight", varied={"keys": "labels"})): 0.0
        for key in means_of()
    }
    assert warned(questions, CategoriseParams()) == []


def test_letter_categories_are_of_questions_only() -> None:
    ioi = DistributionSpec.parse("ioi")
    CategoriseParams(late=0.7).check(NO_MODEL, ioi)
    with pytest.raises(
        LettersOfQuestionsOnly, match=r"one_label, uneven: .* 'ioi' has completions"
    ):
        CategoriseParams(one_label=0.5, uneven=0.2).check(NO_MODEL, ioi)
    CategoriseParams(one_label=0.5).check(NO_MODEL, DistributionSpec())
    assert CategoriseParams.usual(ioi) == {"source": "paired"}


class NoModel:
    layers = ()


NO_MODEL = NoModel()


def test_it_hands_on_the_weights_on_candidates_and_the_effects() -> None:
    means = means_of(io=0.5)
    spans = {
        ScoreKey(key.component, Quantity("weight", varied={"keys": group}))
        for key in means
        for group in ("io", "last", "labels")
    }
    vectors = {key: np.arange(6, dtype=np.float32) for key in (*means, *spans)}
    inputs = {
        name: Result(
            scores={k: v for k, v in vectors.items() if (k.quantity.site == "z") == patched},
            means={},
            tensors={},
        )
        for name, patched in (("attention", False), ("effects", True))
    }
    prompts = [completed(number) for number in (1, 4)]
    found = categorise(None, prompts, CategoriseParams(), lambda done: None, inputs=inputs)
    assert found.scores.keys() == set(means)
    for vector in found.scores.values():
        np.testing.assert_array_equal(vector, [1, 4])
