"""What is made of the vectors of a whole run: statistics, summaries, warnings."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from analyses import bootstrap, knowledge, registry
from analyses.bootstrap import Statistics
from analyses.effects import noop_key
from analyses.knowledge import KNOWN
from analyses.quantities import Quantity, Varied
from analyses.results import (
    MODEL,
    Component,
    Derived,
    Kind,
    Measured,
    NamedTensor,
    Resampled,
    ScoreKey,
)
from tracker.working import finishing
from tracker.working.missing_ratios import missing_ratios

SET = Component(kind=Kind.SET)
ITEMS = [f"item {number}" for number in range(40)]
NOISE = np.random.default_rng(0).standard_normal(40).astype(np.float32)


def of_model(metric: str, condition: str) -> ScoreKey:
    return ScoreKey(MODEL, Quantity(metric, varied=Varied.read(condition)))


def effect(m: float) -> ScoreKey:
    return ScoreKey(SET, Quantity("total_effect", varied={"of": "logit_diff"}), x=m)


def statistics(name: str, vectors: dict[ScoreKey, Any], **params: object) -> finishing.Scores:
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
    moved = found[ScoreKey(SET, Quantity("moved", varied={"of": "logit_diff"}), x=1)][0]
    summaries = {key.quantity.metric for key, (_, values) in found.items() if values is None}
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


@pytest.mark.parametrize(("rank", "warned"), [(1, True), (3, False)])
def test_a_rank_that_the_data_does_not_have_is_told(rank: int, warned: bool) -> None:
    head = Component(kind=Kind.HEAD, layer=3, index=7)
    of_queries = ScoreKey(head, Quantity("data_rank", "q"))
    found = statistics("label_randomisation", {of_queries: rank + 0 * NOISE})
    asked = registry.find("label_randomisation")
    warnings = finishing.notes(asked, asked.checked({"rank": 3}), found).warnings
    said = "queries that were learnt from span fewer than 3 dimensions in 1 head (the fewest: 1 in"
    assert [said in each and "L03.H07" in each for each in warnings] == [True] * warned


def test_every_run_says_how_its_intervals_are_made() -> None:
    asked = registry.find("behaviour")
    said = finishing.notes(asked, asked.checked({}), {}).conventions
    assert "Wilson" in said["intervals of shares of prompts"]
    assert said["position"] == "the last token of the prompt"


def test_summaries_count_the_prompts_that_count() -> None:
    """Four of forty are known; with one of them there is no interval."""
    for known, has_interval in ((4, True), (1, False)):
        values = np.full(40, np.nan, dtype=np.float32)
        values[:known] = 3 + NOISE[:known]
        vectors = {of_model("logit_diff", "source - base"): values + 5, effect(1): values + 5}
        found = statistics("cumulative", vectors)
        ratio = found[ScoreKey(SET, Quantity("moved", varied={"of": "logit_diff"}), x=1)][0]
        assert (ratio.n, ratio.skipped) == (known, 40 - known)
        if has_interval:
            assert ratio.sem is not None
            assert np.isfinite(ratio.sem)
            area = found[ScoreKey(SET, Quantity("area", varied={"of": "logit_diff"}))][0]
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
    warnings = finishing.notes(asked, asked.checked(params), found).warnings
    assert [("0.01" in each) for each in warnings] == [True] * warned


@pytest.mark.parametrize(("size", "warned"), [(0.001, False), (0.2, True)])
def test_a_replay_that_is_another_run_is_told(size: float, warned: bool) -> None:
    """Its mean may be nothing while single prompts are far off."""
    off = size * np.tile(np.array([1, -1], dtype=np.float32), 20)
    found = statistics("patching", {noop_key(): off})
    asked = registry.find("patching")
    warnings = finishing.notes(asked, asked.checked({}), found).warnings
    assert [("differs by 0.20 on average" in each) for each in warnings] == [True] * warned


def test_what_is_not_known_is_skipped_whatever_the_part() -> None:
    whole = Measured(
        scores={KNOWN: np.ones(1, dtype=np.float32)},
        tensors={"ids": NamedTensor(np.array([[7, 8]], dtype=np.int32), ("prompt", "label"))},
    )
    spread = knowledge._spread(whole, np.array([False, True, False]))
    assert spread.tensors["ids"].values.tolist() == [[0, 0], [7, 8], [0, 0]]
    assert spread.left_out(KNOWN).tolist() == [True, False, True]


def ratios_without(means: dict[str, tuple[float, float, int]]) -> list[str]:
    """The warnings of a run of subspace: gains by site, each with its spread and its prompts."""
    scores: dict[ScoreKey, np.ndarray] = {}
    for head in range(2):
        component = Component(kind=Kind.HEAD, layer=0, index=head)
        for site, (mean, spread, n) in means.items():
            values = mean + spread * NOISE
            values[n:] = np.nan
            scores[ScoreKey(component, Quantity("gain", site))] = values
            for rank in range(3):
                scores[ScoreKey(component, Quantity("gained", site), rank)] = values * rank / 2
    asked = registry.find("subspace")
    found = statistics("subspace", scores)
    return list(finishing.notes(asked, asked.checked({}), found).warnings)


def test_a_warning_counts_what_it_names() -> None:
    assert ratios_without({"q": (0.0, 1.0, 40), "k": (5.0, 1.0, 40)}) == [
        "kept has no value in 6 of 12 scores, for 2 heads: the 95 % interval of what is divided by "
        "includes zero."
    ]
    assert ratios_without({"q": (5.0, 1.0, 40)}) == []


def test_a_warning_says_why_there_is_no_value() -> None:
    assert ratios_without({"q": (5.0, 1.0, 0)}) == [
        "kept has no value in 6 of 6 scores, for 2 heads: no prompt counts."
    ]
    (of_one_item,) = ratios_without({"q": (5.0, 1.0, 1)})
    assert of_one_item.endswith("as all prompts that count are of one item.")


def test_components_of_several_kinds_are_counted_apart() -> None:
    nothing = Statistics(n=8, skipped=0, mean=None, sem=None, ci_low=None, ci_high=None)
    divisor = of_model("logit_diff", "source - base")
    kinds = (*3 * (Kind.HEAD,), Kind.ATTN_BIAS, Kind.ATTN_BIAS, Kind.SET)
    ratios = {
        ScoreKey(Component(kind=kind, layer=0, index=index), Quantity("moved")): (
            effect(0),
            divisor,
        )
        for index, kind in enumerate(kinds)
    }
    found = dict.fromkeys(ratios, nothing) | {
        divisor: Statistics(n=8, skipped=0, mean=0.0, sem=1.0, ci_low=-1.0, ci_high=1.0)
    }
    (said,) = missing_ratios(found, ratios)
    assert said.startswith(
        "moved has no value in 6 of 6 scores, for 2 attention biases, 3 heads and 1 set of "
        "components: "
    )


def test_a_number_about_a_run_has_an_interval_where_resamples_are_known() -> None:
    """The mean of eight prompts of four items; its resamples are those of the mean itself."""
    values = np.arange(8, dtype=np.float32)
    items = [f"item {n // 2}" for n in range(8)]
    key, bare = of_model("mean", ""), of_model("bare", "")
    vectors = {of_model("loss", ""): values}

    def resampled(draws: bootstrap.Draws) -> Iterator[Resampled]:
        yield Resampled(key, bootstrap.resampled_means(values[None], draws)[0])

    derived = Derived(numbers={key: 3.5, bare: 1.0}, resampled=resampled)
    found = finishing.with_numbers(derived, vectors, items, seed=0)
    (plain,) = bootstrap.statistics(values[None], bootstrap.draw(items, seed=0))
    about = found[key][0]
    assert (about.mean, about.ci_low, about.ci_high) == (3.5, plain.ci_low, plain.ci_high)
    assert found[bare][0].ci_low is None


def test_what_is_said_to_have_no_interval_gets_none() -> None:
    order = ScoreKey(Component(kind=Kind.HEAD, layer=0, index=0), Quantity("order", "z"))
    added = ScoreKey(
        Component(kind=Kind.HEAD, layer=0, index=0), Quantity("added", "z", {"of": "logit_diff"})
    )
    vectors = {order: 0 * NOISE + 3, added: NOISE}
    found = finishing.without_declared(
        statistics("cumulative", vectors), registry.find("cumulative")
    )
    assert (found[order][0].mean, found[order][0].ci_low) == (3, None)
    assert found[added][0].ci_low is not None
