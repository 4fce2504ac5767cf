"""Each analysis draws its own scores, under the names that it stores them by."""

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from analyses import registry
from analyses.pictures import (
    categories,
    cumulative,
    curves,
    drawing,
    label_randomisation,
    patching,
    paths,
    position_maps,
    projections,
    subspace,
)
from analyses.pictures.findings import Estimate, Findings
from analyses.pictures.plots import loaded
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, NamedTensor, ScoreKey

SET = Component(kind=Kind.SET)


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with drawing.styled():
        yield


def head(layer: int, index: int) -> Component:
    return Component(kind=Kind.HEAD, layer=layer, index=index)


def about(mean: float) -> Estimate:
    return Estimate(n=8, mean=mean, ci_low=mean - 0.1, ci_high=mean + 0.1)


def heights(axes: Axes) -> dict[str, list[float]]:
    return {
        each.get_label(): [bar.get_height() for bar in each]
        for each in axes.containers
        if isinstance(each, BarContainer)
    }


def patched(component: Component, site: str, **effects: float) -> dict[ScoreKey, Estimate]:
    return {
        ScoreKey(component, Quantity(metric, site, {"of": "logit_diff"})): about(value)
        for metric, value in effects.items()
    }


def test_effects_are_points_of_direct_by_total_with_the_strongest_named() -> None:
    found = Findings(
        scores={
            **patched(head(0, 0), "z", direct_effect=0.0, total_effect=0.0),
            **patched(head(1, 0), "z", direct_effect=1.0, total_effect=-3.0),
            **patched(head(1, 0), "q", direct_effect=9.0, total_effect=9.0),
        },
        units={"logit_diff": "logits"},
    )
    figure = patching.direct_total(found)
    (axes,) = figure.axes
    points = axes.containers[0].lines[0]
    assert list(zip(*points.get_data(), strict=True)) == [(0.0, 0.0), (1.0, -3.0)]
    assert axes.get_xlabel() == "direct effect on logit diff (logits)"
    assert {text.get_text() for text in axes.texts} == {"L00.H00", "L01.H00"}
    assert drawing.png(figure, title="effects").startswith(b"\x89PNG")


def test_what_heads_read_has_a_map_for_each_site_that_was_patched() -> None:
    group = Component(kind=Kind.KV_HEAD, layer=0, index=1)
    found = Findings(
        scores={
            **patched(head(0, 0), "q", total_effect=1.0),
            **patched(head(0, 0), "z", total_effect=5.0),
            **patched(group, "k", total_effect=-2.0),
        }
    )
    queries, keys, _ = patching.reads(found).axes
    assert (queries.get_title(), keys.get_title()) == ("queries", "keys")
    assert queries.images[0].get_array().tolist() == [[1.0]]
    assert keys.images[0].get_array()[0, 1] == -2.0
    assert patching.reads(Findings(scores=patched(head(0, 0), "z", total_effect=1.0))) is None


def at(name: str, layer: int, effect: Estimate) -> dict[ScoreKey, Estimate]:
    component = Component(kind=Kind.MODEL, layer=layer)
    varied = {"of": "logit_diff", "at": name}
    return {ScoreKey(component, Quantity("total_effect", "resid_pre", varied)): effect}


def test_a_position_map_is_of_layer_by_position_in_the_order_of_the_prompts() -> None:
    mlp = Component(kind=Kind.MLP, layer=1)
    at_end = {"of": "logit_diff", "at": "end"}
    of_probability = Quantity("total_effect", "mlp_out", {"of": "prob_diff", "at": "end"})
    unsure = Estimate(n=8, mean=0.5, ci_low=-0.1, ci_high=1.1)
    found = Findings(
        scores={
            **at("io", 0, about(2.0)),
            **at("end", 0, unsure),
            **at("io", 1, about(-4.0)),
            ScoreKey(mlp, Quantity("total_effect", "mlp_out", at_end)): about(1.0),
            ScoreKey(mlp, of_probability): about(9.0),
            **{
                ScoreKey(MODEL, Quantity("position", varied={"at": name})): about(where)
                for name, where in (("end", 7.0), ("io", 1.5))
            },
        }
    )
    figure = position_maps.position_maps(found)
    resid, mlps, bar = figure.axes
    assert [each.get_title() for each in (resid, mlps)] == ["residual that enters the layer", "MLP"]
    assert [label.get_text() for label in mlps.get_xticklabels()] == ["io", "end"]
    (values,) = (each.get_array() for each in resid.images)
    np.testing.assert_array_equal(values.filled(np.nan), [[2.0, 0.5], [-4.0, np.nan]])
    assert bar.get_ylim() == (-4.0, 4.0)
    (dots,) = resid.collections
    assert dots.get_offsets().tolist() == [[0, 0], [0, 1]]  # of these the interval excludes 0
    assert drawing.png(figure, title="map").startswith(b"\x89PNG")
    assert position_maps.position_maps(Findings(scores=patched(mlp, "mlp_out"))) is None


def test_the_reads_with_the_largest_path_effects_have_maps_of_their_senders() -> None:
    effects = {f"{layer}.0.q": 0.1 * layer for layer in range(2, 7)} | {"all.q": 9.0, "7.1.k": -2.0}
    scores = {
        ScoreKey(head(1, 3), Quantity("path_effect", "z", {"of": of, "to": to})): about(mean)
        for of, times in (("logit_diff", 1), ("loss", 100))
        for to, mean in effects.items()
        for mean in [times * mean]
    }
    found = Findings(scores=scores, units={"logit_diff": "logits"})
    *maps, bar = paths.by_receiver(found).axes
    assert [axes.get_title() for axes in maps] == ["4.0.q", "5.0.q", "6.0.q", "7.1.k"]
    assert [axes.images[0].get_array()[1, 3] for axes in maps] == pytest.approx([0.4, 0.5, 0.6, -2])
    label = " ".join(bar.get_ylabel().split())
    assert label == "mean path effect on logit diff (logits), n = 8"
    assert paths.by_receiver(Findings(scores=patched(head(0, 0), "z", total_effect=1.0))) is None


def test_every_site_of_the_set_is_a_panel_with_both_placebos_beside_it() -> None:
    scores = {
        ScoreKey(component, Quantity("logit_diff", site, Varied.read(condition)), x=rank): about(
            rank
        )
        for component in (SET, head(0, 0))
        for site in ("k", "q")
        for condition in ("", "placebo=random", "placebo=other_tokens")
        for rank in range(4)
    }
    figure = subspace.logit_diff_by_rank(Findings(scores=scores))
    assert [axes.get_title() for axes in figure.axes] == ["q", "k"]
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == [curves.ITSELF, "other tokens", "random"]
    assert subspace.accuracy_by_rank(Findings(scores=scores)) is None


def test_a_cumulative_curve_has_a_line_for_each_metric_shown() -> None:
    scores = {
        ScoreKey(SET, Quantity("moved", varied=Varied.read(metric)), x=m): about(m / 4)
        for metric in ("logit_diff", "label_mass")
        for m in range(5)
    }
    (axes,) = cumulative.moved_by_count(Findings(scores=scores)).axes
    assert [line.get_label() for line in axes.lines] == ["logit diff", "80 %", "90 %"]
    assert axes.lines[0].get_ydata().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_mutations_stand_beside_the_confined_set() -> None:
    scores = {}
    for name, whole, left in (("none", 4.0, 3.5), ("shuffled", 3.0, 1.0)):
        mutation = {"mutation": name}
        scores[ScoreKey(MODEL, Quantity("logit_diff", "", mutation))] = about(whole)
        scores[ScoreKey(SET, Quantity("logit_diff", "qk", mutation))] = about(left)
        scores[ScoreKey(head(0, 0), Quantity("logit_diff", "qk", mutation))] = about(9.0)
    (axes,) = label_randomisation.logit_diff_by_mutation(Findings(scores=scores)).axes
    assert heights(axes) == {"full model": [4.0, 3.0], "confined": [3.5, 1.0]}


def test_what_answers_follow_is_shown_beside_the_model_left_alone() -> None:
    scores = {
        ScoreKey(component, Quantity(metric, site, {"of": "interchange"})): about(mean)
        for component, site, values in ((MODEL, "", (0.0, 0.9)), (SET, "q", (0.7, 0.2)))
        for metric, mean in zip(("follows_position", "stays"), values, strict=True)
    }
    (axes,) = label_randomisation.interchange(Findings(scores=scores)).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["nothing", "queries"]
    assert heights(axes) == {"follows position": [0.0, 0.7], "stays": [0.9, 0.2]}


def told(layer: int, group: int, by_index: float) -> dict[ScoreKey, Estimate]:
    component = Component(kind=Kind.KV_HEAD, layer=layer, index=group)
    numbers = {
        ("explained", "by=index"): by_index,
        ("explained", "by=symbol"): 0.25,
        ("variance_share", ""): 0.5,
    }
    return {
        ScoreKey(component, Quantity(metric, "k", Varied.read(condition)), x=1): Estimate(
            n=2, mean=mean, ci_low=mean - 0.1, ci_high=min(1.0, mean + 0.2)
        )
        for (metric, condition), mean in numbers.items()
    }


def test_keys_are_points_coloured_by_index_and_by_symbol() -> None:
    keys = np.zeros((3, 2, 2, 2, 2), dtype=np.float32)  # prompt, option, layer, kv_head, dim
    keys[:2, :, 1, 1] = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    keys[2] = np.nan  # a prompt that was skipped
    tensors = {
        "k_projection": NamedTensor(keys, ("prompt", "option", "layer", "kv_head", "dim")),
        "symbols": NamedTensor(np.array([[40, 41], [41, 40], [0, 0]]), ("prompt", "label")),
    }
    scores = told(0, 0, 1.0) | told(1, 0, 0.5) | told(1, 1, 0.75)
    figure = projections.nth_item(Findings(scores=scores, tensor=tensors.__getitem__))
    assert [axes.get_title() for axes in figure.axes] == [
        "L00.KV00: index explains 100% [90, 100]",
        "L01.KV01: index explains 75% [65, 95]",  # of each layer the head that tells places best
        "L00.KV00: symbol explains 25% [15, 45]",
        "L01.KV01: symbol explains 25% [15, 45]",
    ]
    by_index, by_symbol = (
        [each.get_offsets().tolist() for each in figure.axes[place].collections] for place in (1, 3)
    )
    assert by_index == [[[1, 2], [5, 6]], [[3, 4], [7, 8]]]
    assert by_symbol == [[[1, 2], [7, 8]], [[3, 4], [5, 6]]]
    assert drawing.png(figure, title="bases").startswith(b"\x89PNG")


def test_heads_stand_in_a_table_by_category_with_the_importance_of_each() -> None:
    members = {"correct_letter": [(1, 1, -2.5), (1, 2, 0.5)], "other": [(0, 0, 1.0)], "uniform": []}
    importance = {"correct_letter": 0.6, "other": 0.2, "uniform": 0.0, "mlps": 0.15, "outside": 0.4}
    scores = {
        ScoreKey(MODEL, Quantity("importance", varied=Varied.read(name))): about(share)
        for name, share in importance.items()
    }
    for own, (layer, index, effect) in ((name, one) for name, of in members.items() for one in of):
        scores |= patched(head(layer, index), "z", total_effect=effect)
        for name in members:
            key = ScoreKey(head(layer, index), Quantity("category", varied=Varied.read(name)))
            scores[key] = about(float(name == own))
    figure = categories.by_category(Findings(scores=scores))
    said = [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in figure.axes[0].texts]
    assert "L01.H01 (\N{MINUS SIGN}2.50), L01.H02 (0.50)" in said
    assert [text for text in said if "%" in text][:2] == ["60% (50% to 70%)", "20% (10% to 30%)"]
    assert {"MLPs", "outside named ones"} <= set(said)
    assert drawing.png(figure, title="categories").startswith(b"\x89PNG")


def test_no_analysis_draws_anything_of_nothing() -> None:
    nothing = Findings(scores={ScoreKey(MODEL, Quantity("nothing")): about(1.0)})
    for each in registry.all_analyses():
        for plot in each.plots.values():
            assert loaded(plot)(nothing) is None
