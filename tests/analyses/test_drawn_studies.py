"""Every picture of every analysis, drawn from what the shipped model gives."""

import numpy as np
import pytest
from golden import Shipped
from matplotlib.figure import Figure

from analyses import registry
from analyses.pictures import drawing
from analyses.pictures.findings import Estimate, Findings
from analyses.pictures.plots import loaded
from analyses.results import Kind

OWN = [each.name for each in registry.all_analyses() if each.function.startswith("analyses.")]
UNASKED = [("patching", "reads"), ("patching", "positions")]  # of what runs only if somebody asks
pytestmark = pytest.mark.xdist_group("golden")


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return Shipped()


@pytest.fixture
def findings(shipped: Shipped):
    """What a run holds, as pictures read it: means, ratios and numbers without intervals."""

    def of(name: str) -> Findings:
        analysis = registry.find(name)
        measured, derived = shipped.measured(name)
        means = {key: float(np.nanmean(each)) for key, each in measured.scores.items()}
        for key, (over, under) in analysis.ratios(list(means)).items():
            if means[under]:
                means[key] = means[over] / means[under]
        params = analysis.checked({})
        read = {key: mean for key, mean in means.items() if analysis.summarised(key)}
        means |= {**analysis.summarise(read, params), **derived.numbers}
        tensors = {**measured.tensors, **derived.tensors}
        return Findings(
            scores={key: Estimate(n=8, mean=mean) for key, mean in means.items()},
            headline=analysis.headline,
            units=analysis.units,
            tensor=tensors.__getitem__,
        )

    return of


def draw(name: str, plot: str, findings) -> Figure:
    with drawing.styled():
        figure = loaded(registry.find(name).plots[plot])(findings(name))
    assert figure is not None
    return figure


@pytest.mark.parametrize(
    ("name", "plot"),
    [
        (name, plot)
        for name in OWN
        for plot in registry.find(name).plots
        if (name, plot) not in UNASKED
    ],
)
def test_every_picture_is_there(findings, name: str, plot: str) -> None:
    figure = draw(name, plot, findings)
    assert len(drawing.png(figure, title=name)) > 5_000
    assert figure.axes


def test_a_panel_of_ranks_holds_the_set_and_its_placebos(findings) -> None:
    figure = draw("subspace", "ranks", findings)
    assert [axes.get_title() for axes in figure.axes] == ["q", "k", "v", "qk", "qkv"]
    of_qk = figure.axes[3]
    assert [line.get_label() for line in of_qk.lines][:1] == ["leading subspace"]
    assert {line.get_label() for line in of_qk.lines[1:]} <= {"other tokens", "random"}
    scores = findings("subspace").where(Kind.SET, metric="logit_diff", site="qk", varied={})
    expected = [scores[key].mean for key in sorted(scores)]
    np.testing.assert_allclose(of_qk.lines[0].get_ydata(), expected)


def test_the_bars_of_an_exchange_are_its_shares(findings) -> None:
    (axes,) = draw("label_randomisation", "interchange", findings).axes
    scores = findings("label_randomisation").where(Kind.MODEL, Kind.SET, metric="stays")
    expected = {key.quantity.site: found.mean for key, found in scores.items()}
    stays = next(bars for bars in axes.containers if "stays" in str(bars.get_label()))
    heights = [bar.get_height() for bar in stays]
    np.testing.assert_allclose(heights, [expected[site] for site in ("", "q", "k", "z")])


def test_points_of_keys_are_as_many_as_options(findings) -> None:
    figure = draw("bases", "projections", findings)
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert sum(len(each.get_offsets()) for each in axes.collections) == 8 * 4
