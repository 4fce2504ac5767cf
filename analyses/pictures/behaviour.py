"""What a model answers, by position and by label of the correct option."""

from matplotlib.figure import Figure

from analyses.pictures.bars import draw_groups
from analyses.pictures.drawing import n_label, panels
from analyses.pictures.findings import Estimate, Findings
from analyses.quantities import spelled
from analyses.results import Kind

METRICS = ("accuracy", "label_mass")
BY = {"position": "position of the correct option", "label": "correct label"}


def answers(findings: Findings) -> Figure | None:
    """Accuracy and label mass by position and by label, with chance; None if there are none."""
    series = {by: {metric: _by(findings, metric, by) for metric in METRICS} for by in BY}
    if not any(by_value for by_metric in series.values() for by_value in by_metric.values()):
        return None
    chance = 1 / findings.tensor("label_logits").values.shape[1]
    figure, grid = panels(1, 2, same_x=False, height=3.0)
    for axes, (by, by_metric) in zip(grid, series.items(), strict=True):
        by_value = by_metric["accuracy"]
        draw_groups(
            axes,
            {metric.replace("_", " "): each for metric, each in by_metric.items()},
            groups=sorted(by_value, key=int) if by == "position" else sorted(by_value),
        )
        axes.axhline(chance, color="black", linestyle=":", label="accuracy at chance")
        axes.set_xlabel(f"{BY[by]} ({n_label(by_value.values())} each)")
        axes.set_ylim(0, 1.02)
    grid[0].set_ylabel("share of prompts, probability")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _by(findings: Findings, metric: str, by: str) -> dict[str, Estimate]:
    return {
        spelled(key.quantity.varied[by]): estimate
        for key, estimate in findings.where(Kind.MODEL, metric=metric).items()
        if by in key.quantity.varied
    }
