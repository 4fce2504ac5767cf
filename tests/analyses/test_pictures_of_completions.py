"""Pictures of what completions have: groups of any name, spans, roles."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from analyses.pictures.attention import groups
from analyses.pictures.behaviour import answers
from analyses.pictures.categories import by_category
from analyses.pictures.findings import Estimate, Findings
from analyses.quantities import Quantity, Value
from analyses.results import MODEL, Component, Kind, ScoreKey

TEMPLATES = ("argument", "commuting", "thinking", "went")
WEIGHTS = {"io": 0.1, "s1": 0.3, "s2": 0.2, "last": 0.1, "rest": 0.3}


def head(index: int) -> Component:
    return Component(kind=Kind.HEAD, layer=2, index=index)


def score(
    component: Component, metric: str, varied: Mapping[str, Value], site: str = ""
) -> ScoreKey:
    return ScoreKey(component, Quantity(metric, site, varied))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_answers_have_a_panel_for_every_name_of_groups() -> None:
    names = {"template": TEMPLATES, "order": ("ABBA", "BABA"), "number": ("10", "9")}
    scores = {
        score(MODEL, metric, {name: value}): Estimate(n=4, mean=0.5)
        for metric in ("accuracy", "label_mass")
        for name, values in names.items()
        for value in values
    }
    figure = answers(Findings(scores=scores))
    assert figure is not None
    figure.draw_without_rendering()
    labels = {
        axes.get_xlabel().partition(" (")[0]: [each.get_text() for each in axes.get_xticklabels()]
        for axes in figure.axes
        if axes.get_xlabel()
    }
    assert labels == {
        "number": ["9", "10"],
        "order": ["ABBA", "BABA"],
        "template": list(TEMPLATES),
    }
    assert answers(Findings(scores={score(MODEL, "accuracy", {}): Estimate(n=4, mean=1)})) is None


def test_attention_is_shown_by_span() -> None:
    scores = {
        score(head(index), "weight", {"keys": keys}): Estimate(n=4, mean=weight)
        for index in range(2)
        for keys, weight in {**WEIGHTS, "correct_label": 0.1 * index, "other_labels": 0.5}.items()
    }
    figure = groups(Findings(scores=scores))
    assert figure is not None
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["s1", "s2", "io", "last", "rest"]
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ["L02.H01", "L02.H00"]


def test_attention_to_texts_without_the_correct_label_is_ranked_by_the_first_span() -> None:
    scores = {
        score(head(index), "weight", {"keys": keys}): Estimate(n=4, mean=weight * (1 + index))
        for index in range(2)
        for keys, weight in {**WEIGHTS, "correct_label": 0.0, "other_labels": 0.0}.items()
    }
    figure = groups(Findings(scores=scores))
    assert figure is not None
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ["L02.H01", "L02.H00"]


def test_roles_are_listed_with_their_heads() -> None:
    scores = {
        score(head(0), "category", {"of": "mover"}): Estimate(n=4, mean=1),
        score(head(0), "category", {"of": "gatherer"}): Estimate(n=4, mean=0),
        score(head(0), "total_effect", {"of": "logit_diff"}, "z"): Estimate(n=4, mean=-1.5),
        score(MODEL, "importance", {"of": "mover"}): Estimate(n=4, mean=0.75),
    }
    figure = by_category(Findings(scores=scores))
    assert figure is not None
    shown = texts(figure)
    assert "mover" in shown
    assert "75%" in shown
    assert "L02.H00\u00a0(\N{MINUS SIGN}1.50)" in shown
