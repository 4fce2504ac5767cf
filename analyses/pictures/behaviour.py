"""What a model answers, by group of prompts, such as by position of the correct option."""

from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.pictures.bars import draw_groups
from analyses.pictures.drawing import n_label, panels
from analyses.pictures.findings import Estimate, Findings
from analyses.quantities import spelled
from analyses.results import Kind

METRICS = ("accuracy", "label_mass")
# Of questions, whose accuracy at chance is known: one of the labels is correct.
BY = {"position": "position of the correct option", "label": "correct label"}
SHOWN = 30  # groups of one name, those of the most prompts
LONG = 30  # letters of all groups beside each other


def answers(findings: Findings) -> Figure | None:
    """Accuracy and label mass by group, for each name of groups; None if there are no groups."""
    names = _names(findings)
    if not names:
        return None
    columns = min(2, len(names))
    rows = ceil(len(names) / columns)
    figure, grid = panels(rows, columns, same_x=False, height=3.0 * rows)
    for axes, name in zip(grid, names, strict=False):
        _draw(axes, findings, name)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel("share of prompts, probability")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _names(findings: Findings) -> list[str]:
    """The names of groups, those of questions first."""
    scores = findings.where(Kind.MODEL, metric=METRICS[0])
    names = {name for key in scores for name in key.quantity.varied}
    return [*(name for name in BY if name in names), *sorted(names - BY.keys())]


def _draw(axes: Axes, findings: Findings, name: str) -> None:
    by_metric = {metric: _by(findings, metric, name) for metric in METRICS}
    by_value = by_metric[METRICS[0]]
    shown = sorted(by_value, key=lambda value: (-by_value[value].n, value))[:SHOWN]
    draw_groups(
        axes,
        {metric.replace("_", " "): each for metric, each in by_metric.items()},
        groups=sorted(shown, key=_order),
    )
    if sum(map(len, shown)) > LONG:
        axes.tick_params(axis="x", labelrotation=90)
    if name in BY:
        chance = 1 / findings.tensor("label_logits").values.shape[1]
        axes.axhline(chance, color="black", linestyle=":", label="accuracy at chance")
    label = BY.get(name, name.replace("_", " "))
    axes.set_xlabel(f"{label} ({n_label(by_value[value] for value in shown)} each)")
    axes.set_ylim(0, 1.02)


def _order(value: str) -> tuple[bool, int, str]:
    """Numbers come first, by their size."""
    number = value.isascii() and value.isdigit()
    return not number, int(value) if number else 0, value


def _by(findings: Findings, metric: str, by: str) -> dict[str, Estimate]:
    return {
        spelled(key.quantity.varied[by]): estimate
        for key, estimate in findings.where(Kind.MODEL, metric=metric).items()
        if by in key.quantity.varied
    }
