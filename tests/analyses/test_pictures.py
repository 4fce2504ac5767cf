"""Pictures show the numbers they are given: read back from the figures, without a display."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from PIL import Image

from analyses.pictures import (
    attention,
    attribution,
    behaviour,
    curves,
    drawing,
    heads,
    mutations,
)
from analyses.pictures.findings import Estimate, Findings, Grid, NoSuchTensor
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, NamedTensor, ScoreKey


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with drawing.styled():
        yield


def test_a_persons_own_settings_of_matplotlib_change_no_picture() -> None:
    own = {"lines.linewidth": 20, "font.size": 30, "text.usetex": True}
    with matplotlib.rc_context(own), drawing.styled():
        found = {name: matplotlib.rcParams[name] for name in own}
    assert found == {
        "lines.linewidth": matplotlib.rcParamsDefault["lines.linewidth"],
        "font.size": 9,
        "text.usetex": False,
    }


def head(layer: int, index: int) -> Component:
    return Component(kind=Kind.HEAD, layer=layer, index=index)


def about(mean: float, *, reach: float = 0.1, n: int = 8) -> Estimate:
    return Estimate(n=n, mean=mean, ci_low=mean - reach, ci_high=mean + reach)


def key(component: Component, metric: str, condition: str = "", x: float = 0.0) -> ScoreKey:
    return ScoreKey(component, Quantity(metric, varied=Varied.read(condition)), x=x)


def attributed(means: Mapping[Component, float]) -> Findings:
    return Findings(
        scores={key(each, "logit_attribution"): about(mean) for each, mean in means.items()},
        headline=Quantity("logit_attribution"),
        units={"logit_attribution": "logits"},
    )


def bars(axes: Axes) -> dict[str, BarContainer]:
    """The series of bars by name."""
    return {each.get_label(): each for each in axes.containers if isinstance(each, BarContainer)}


def drawn(figure) -> Image.Image:
    return Image.open(BytesIO(drawing.png(figure, title="a title\nand what was asked")))


FOUR = {head(0, 0): 0.05, head(0, 1): -2.0, head(1, 1): 1.0, Component(kind=Kind.MLP, layer=1): 3.0}


def test_the_map_has_layers_by_heads_and_colours_that_end_equally_far_from_zero() -> None:
    figure = heads.headline_map(attributed(FOUR))
    axes, bar = figure.axes
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), [[0.05, -2.0], [np.nan, 1.0]])
    assert image.get_clim() == (-2.0, 2.0)
    assert bar.get_ylabel().replace("\n", " ") == "mean logit attribution (logits), n = 8"
    assert drawn(figure).format == "PNG"


def test_a_dot_marks_the_heads_whose_interval_leaves_zero_out() -> None:
    axes = heads.headline_map(attributed(FOUR)).axes[0]
    (dots,) = axes.collections
    assert sorted(map(tuple, dots.get_offsets().tolist())) == [(1.0, 0.0), (1.0, 1.0)]
    unsure = heads.headline_map(attributed({head(0, 0): -0.01}))
    assert unsure.get_supxlabel() == "no head's own 95 % interval excludes 0"


def test_of_several_sites_what_heads_give_is_shown_and_the_label_names_it() -> None:
    places = [("q", 0.0, 1.0), ("z", 3.0, 2.0), ("z", 4.0, 3.0)]
    scores = {
        ScoreKey(head(0, 0), Quantity("size", site, {"by": "x"}), x=x): about(mean)
        for site, x, mean in places
    }
    figure = heads.headline_map(
        Findings(scores=scores, headline=Quantity("size", varied={"by": "x"}))
    )
    assert figure.axes[0].images[0].get_array().tolist() == [[2.0]]
    assert "size, by = x, at z, x = 3" in figure.axes[1].get_ylabel().replace("\n", " ")


def test_maps_side_by_side_have_the_same_colours() -> None:
    keys = {Component(kind=Kind.KV_HEAD, layer=0, index=0): about(-1.0)}
    figure = heads.head_maps({"q": {head(0, 0): about(4.0)}, "k": keys}, label="effect")
    *maps, _ = figure.axes
    assert [axes.images[0].get_clim() for axes in maps] == [(-4.0, 4.0)] * 2
    assert [axes.get_title() for axes in maps] == ["q", "k"]
    assert [axes.get_xlabel() for axes in maps] == ["head", "key-value head"]
    drawn(figure)


def test_weights_have_one_colour_from_zero_on() -> None:
    figure = heads.head_map({head(0, 0): about(0.25), head(0, 1): about(0.5)}, label="weight")
    (image,) = figure.axes[0].images
    assert image.get_clim() == (0.0, 0.5)
    assert not figure.axes[0].collections


def test_the_map_is_the_models_whatever_was_measured_and_says_what_was_not() -> None:
    subset = replace(
        attributed({head(0, 0): 0.0, head(2, 3): 1.0}), grid=Grid(layers=4, heads=6, kv_heads=2)
    )
    figure = heads.headline_map(subset)
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (4, 6)
    assert np.isfinite(image.get_array().filled(np.nan)).sum() == 2
    assert figure.axes[0].patch.get_hatch()
    assert "hatched: no value" in figure.get_supxlabel()
    whole = attributed({head(0, 0): 1.0, head(0, 1): 2.0})
    assert (
        "hatched"
        not in heads.headline_map(
            replace(whole, grid=Grid(layers=1, heads=2, kv_heads=1))
        ).get_supxlabel()
    )


def test_a_map_of_key_value_heads_has_as_many_as_the_model() -> None:
    keys = {Component(kind=Kind.KV_HEAD, layer=1, index=0): about(-1.0)}
    figure = heads.head_maps(
        {"q": {head(0, 0): about(4.0)}, "k": keys},
        label="",
        grid=Grid(layers=3, heads=4, kv_heads=2),
    )
    shapes = [axes.images[0].get_array().shape for axes in figure.axes[:2]]
    assert shapes == [(3, 4), (3, 2)]


def test_a_cell_without_a_value_is_unlike_one_of_zero() -> None:
    """Compared as they are on the page, the cell of 0 beside the one that is missing."""
    for least in (0.0, -1.0):  # colours from 0 on, and of both signs
        found = attributed({head(0, 0): 0.0, head(1, 0): 1.0, head(1, 1): least})
        picture = drawn(
            heads.headline_map(replace(found, grid=Grid(layers=2, heads=2, kv_heads=1)))
        ).convert("RGB")
        figure = heads.headline_map(replace(found, grid=Grid(layers=2, heads=2, kv_heads=1)))
        drawing.png(figure, title="a title\nand what was asked")
        place = figure.axes[0].transData.transform([(0, 0), (1, 0)])
        scale = picture.width / figure.bbox.width
        zero, missing = (
            np.asarray(
                picture.crop(
                    (
                        int(x - 20),
                        int(picture.height - y - 20),
                        int(x + 20),
                        int(picture.height - y + 20),
                    )
                ),
                dtype=float,
            ).reshape(-1, 3)
            for x, y in place * scale
        )
        assert np.ptp(zero, axis=0).max() < 5  # one colour
        assert np.ptp(missing, axis=0).min() > 20  # hatched


def test_a_coordinate_of_zero_is_named_where_it_is_one() -> None:
    at_rank_0 = key(head(0, 0), "gained", x=0.0)
    for with_x, named in ((frozenset({at_rank_0}), True), (frozenset(), False)):
        found = Findings(scores={at_rank_0: about(1.0)}, with_x=with_x)
        bar = heads.headline_map(found).axes[1].get_ylabel()
        assert ("x = 0" in bar) == named


def test_an_analysis_without_a_headline_gets_the_map_of_its_first_score() -> None:
    scores = {key(head(0, 0), metric): about(value) for metric, value in (("b", 2.0), ("a", 1.0))}
    (image,) = heads.headline_map(Findings(scores=scores)).axes[0].images
    assert image.get_array().tolist() == [[1.0]]


def test_the_strongest_components_come_first_with_their_intervals() -> None:
    many = {head(2, index): 0.01 * index for index in range(30)}
    (axes,) = attribution.strongest(attributed(FOUR | many)).axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels[:4] == ["L01.MLP", "L00.H01", "L01.H01", "L02.H29"]
    assert len(labels) == 20
    widths = {bar.get_y() + 0.35: bar.get_width() for group in bars(axes).values() for bar in group}
    assert [widths[place] for place in range(3)] == [3.0, -2.0, 1.0]
    (interval,) = bars(axes)["MLPs"].errorbar.lines[2][0].get_segments()
    np.testing.assert_allclose(interval[:, 0], [2.9, 3.1])


def test_answers_are_shown_by_position_and_label_beside_chance() -> None:
    conditions = {
        "": 0.5,
        "position=0": 0.75,
        "position=10": 0.25,
        "label=$": 0.75,
        "label=#": 0.25,
    }
    found = Findings(
        scores={
            key(MODEL, metric, condition): about(value)
            for metric in ("accuracy", "label_mass")
            for condition, value in conditions.items()
        },
        tensor={"label_logits": NamedTensor(np.zeros((8, 5)), ("prompt", "label"))}.__getitem__,
    )
    figure = behaviour.answers(found)
    by_position, by_label = figure.axes
    assert [text.get_text() for text in by_position.get_xticklabels()] == ["0", "10"]
    assert [text.get_text() for text in by_label.get_xticklabels()] == ["#", "$"]
    assert [bar.get_height() for bar in bars(by_label)["accuracy"]] == [0.25, 0.75]
    chance = next(line for line in by_label.lines if line.get_label() == "accuracy at chance")
    assert set(chance.get_ydata()) == {0.2}
    drawn(figure)  # a dollar sign is no formula


def test_a_row_of_attention_is_stacked_from_the_correct_label_on() -> None:
    weights = {"correct_label": 0.5, "labels": 0.6, "other_labels": 0.1, "rest": 0.4}
    found = Findings(
        scores={
            key(head(layer, 0), "weight", f"keys={name}"): about(value / layer)
            for layer in range(1, 15)
            for name, value in weights.items()
        }
    )
    (axes,) = attention.groups(found).axes
    assert axes.get_yticklabels()[0].get_text() == "L01.H00"
    assert len(axes.get_yticks()) == 12
    parts = {name: group[0] for name, group in bars(axes).items()}
    ends = {name: (bar.get_x(), bar.get_x() + bar.get_width()) for name, bar in parts.items()}
    assert ends == {  # `labels` is the sum of two others
        "correct label": (0.0, 0.5),
        "other labels": (0.5, 0.6),
        "rest": (0.6, pytest.approx(1.0)),
    }


def ranks(condition: str, component: Component = MODEL) -> dict[ScoreKey, Estimate]:
    return {key(component, "loss", condition, x): about(3 - x / 32) for x in range(65)}


def test_conditions_are_lines_with_bands_over_the_rank() -> None:
    found = Findings(scores=ranks("k") | ranks("q") | {key(MODEL, "loss", "alone"): about(1.0)})
    figure = curves.by_rank(found, "loss", order=["q", "k"], levels={"the model": 1.0})
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["q", "k", "the model"]
    assert axes.lines[0].get_xdata().tolist() == list(range(65))
    assert axes.lines[0].get_ydata()[32] == 2.0
    band = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [0.9, 3.1])
    drawn(figure)


def test_a_condition_with_placebos_has_a_panel_with_them_in_grey() -> None:
    found = Findings(scores=ranks("q") | ranks("q/placebo") | ranks("k") | ranks("k/placebo"))
    figure = curves.by_rank(found, "loss", order=["q", "k"])
    assert [axes.get_title() for axes in figure.axes] == ["q", "k"]
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == [curves.ITSELF, "placebo"]
    assert to_hex(figure.axes[0].lines[1].get_color()) == drawing.GREY
    drawn(figure)


def test_sets_are_told_apart_by_name() -> None:
    one, two = (Component(kind=Kind.SET, index=index) for index in (1, 2))
    found = curves.curves_of(Findings(scores=ranks("q", one) | ranks("q", two)), "loss")
    assert [curve.name for curve in found] == ["SET01 q", "SET02 q"]


def test_a_cumulative_curve_counts_components() -> None:
    found = Findings(scores={key(MODEL, "recovered", "", m): about(m / 10) for m in range(1, 9)})
    (axes,) = curves.by_count(found, "recovered", levels={"80 %": 0.8}).axes
    assert axes.lines[0].get_xdata().tolist() == list(range(1, 9))
    assert axes.get_xlabel().startswith("number of components")


def test_mutations_are_groups_of_bars_with_intervals() -> None:
    found = Findings(
        scores={
            key(MODEL, "loss", "mutation=shuffled"): about(1.0),
            key(MODEL, "loss", "mutation=shuffled/confined"): about(2.0),
            key(MODEL, "loss", "mutation=no_prelude"): about(0.5),
            key(MODEL, "loss"): about(9.0),
        },
        units={"loss": "nats"},
    )
    figure = mutations.by_mutation(found, "loss", order=["shuffled"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["shuffled", "no\nprelude"]
    assert axes.get_ylabel() == "loss (nats)"
    full, confined = bars(axes).values()
    assert [bar.get_height() for bar in full] == [1.0, 0.5]
    assert [bar.get_height() for bar in confined] == [2.0]
    (interval,) = confined.errorbar.lines[2][0].get_segments()
    np.testing.assert_allclose(interval[:, 1], [1.9, 2.1])
    drawn(figure)


def test_nothing_is_drawn_of_nothing() -> None:
    nothing = Findings(scores={key(MODEL, "loss"): about(1.0)})
    assert heads.headline_map(nothing) is None
    assert curves.by_rank(nothing, "loss") is None
    assert curves.by_count(nothing, "loss") is None
    assert mutations.by_mutation(nothing, "loss") is None


def test_a_tensor_that_is_not_there_is_named() -> None:
    with pytest.raises(NoSuchTensor, match="no tensor 'pattern'"):
        Findings(scores={}).tensor("pattern")


def test_a_large_model_fits_on_a_page() -> None:
    random = np.random.default_rng(0)
    many = {head(*place): float(random.normal()) for place in np.ndindex(80, 64)}
    width, height = drawn(heads.headline_map(attributed(many))).size
    assert width <= 6.5 * 200
    assert height <= 6.5 * 200


def test_saying_what_is_drawn_loads_no_matplotlib() -> None:
    look = "import sys; from analyses import registry; registry.all_analyses();"
    code = f"{look} sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
