"""What is made of the vectors of a whole run: statistics, summaries, warnings."""

import numpy as np
import pytest
from scipy.stats import binomtest

from analyses import knowledge, registry
from analyses.knowledge import KNOWN
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, ScoreKey
from tracker import finishing

SET = Component(kind=Kind.SET)
ITEMS = [f"item {number}" for number in range(40)]
NOISE = np.random.default_rng(0).standard_normal(40).astype(np.float32)


def of_model(metric: str, condition: str) -> ScoreKey:
    return ScoreKey(component=MODEL, metric=metric, condition=condition)


def effect(m: float) -> ScoreKey:
    return ScoreKey(component=SET, metric="total_effect", condition="logit_diff", x=m)


def statistics(name: str, vectors, **params: object) -> finishing.Scores:
    analysis = registry.find(name)
    return finishing.with_statistics(vectors, ITEMS, analysis, analysis.checked(params), seed=0)


@pytest.mark.parametrize(("way", "sure"), [(5.0, True), (0.0, False)])
def test_nothing_is_divided_by_a_way_that_may_be_zero(way: float, sure: bool) -> None:
    vectors = {
        of_model("logit_diff", "source - base"): way + NOISE,
        effect(0): 0 * NOISE,
        effect(1): 0.9 * way + NOISE,
    }
    found = statistics("cumulative", vectors)
    moved = found[ScoreKey(component=SET, metric="moved", condition="logit_diff", x=1)][0]
    summaries = {key.metric for key, (_, values) in found.items() if values is None}
    assert (moved.mean is not None) == sure
    assert ("area" in summaries) == sure


def test_a_share_of_prompts_is_never_sure_and_a_difference_is_resampled() -> None:
    right = np.ones(40, dtype=np.float32)
    accuracy, gap = (of_model("accuracy", each) for each in ("base", "source - base"))
    found = statistics("patching", {accuracy: right, gap: right, KNOWN: right})
    expected = binomtest(40, 40).proportion_ci(method="wilson").low
    for key in (accuracy, KNOWN):
        stats = found[key][0]
        assert (stats.ci_low, stats.ci_high) == pytest.approx((expected, 1))
        assert stats.sem > 0.01
    assert (found[gap][0].ci_low, found[gap][0].ci_high) == (1, 1)


def test_every_run_says_how_its_intervals_are_made() -> None:
    asked = registry.find("behaviour")
    said = finishing.notes(asked, asked.checked({}), {})["conventions"]
    assert "Wilson" in said["intervals of shares of prompts"]
    assert said["position"] == "the last token of the prompt"


def test_summaries_count_the_prompts_that_count() -> None:
    """Four of forty are known; with one of them there is no interval."""
    for known, has_interval in ((4, True), (1, False)):
        values = np.full(40, np.nan, dtype=np.float32)
        values[:known] = 3 + NOISE[:known]
        vectors = {of_model("logit_diff", "source - base"): values + 5, effect(1): values + 5}
        found = statistics("cumulative", vectors)
        ratio = found[ScoreKey(component=SET, metric="moved", condition="logit_diff", x=1)][0]
        assert (ratio.n, ratio.skipped) == (known, 40 - known)
        if has_interval:
            assert ratio.sem is not None
            assert np.isfinite(ratio.sem)
            area = found[ScoreKey(component=SET, metric="area", condition="logit_diff")][0]
            assert (area.n, area.skipped) == (known, 40 - known)
            assert area.ci_low is not None


@pytest.mark.parametrize(
    ("analysis", "params", "condition", "warned"),
    [
        ("attention", {}, "", True),
        ("patching", {}, "base", True),
        ("patching", {}, "source", False),
        ("patching", {"direction": "denoise"}, "source", True),
        ("label_randomisation", {}, "mutation=numbers", True),
    ],
)
def test_a_model_that_does_not_answer_with_labels_is_told(
    analysis: str, params: dict[str, object], condition: str, warned: bool
) -> None:
    found = statistics(analysis, {of_model("label_mass", condition): 0.01 + 0 * NOISE}, **params)
    asked = registry.find(analysis)
    warnings = finishing.notes(asked, asked.checked(params), found)["warnings"]
    assert [("0.01" in each) for each in warnings] == [True] * warned


def test_what_is_not_known_is_skipped_whatever_the_part() -> None:
    whole = Measured(
        scores={KNOWN: np.ones(1, dtype=np.float32)},
        tensors={"ids": NamedTensor(np.array([[7, 8]], dtype=np.int32), ("prompt", "label"))},
    )
    spread = knowledge._spread(whole, np.array([False, True, False]))
    assert spread.tensors["ids"].values.tolist() == [[0, 0], [7, 8], [0, 0]]
    assert spread.left_out(KNOWN).tolist() == [True, False, True]
