"""Pictures of scores, drawn without a display."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analyses.results import Kind
from tracker.reports import ScoreLine


def save_head_map(scores: Sequence[ScoreLine], path: Path, *, title: str) -> bool:
    """Draw the first metric of the heads, layer by head, as PNG; False if no head has a score."""
    heads = [line for line in scores if line.component.kind is Kind.HEAD and line.mean is not None]
    if not heads:
        return False
    first = heads[0]
    grid = np.full(
        (
            max(line.component.layer for line in heads) + 1,
            max(line.component.index for line in heads) + 1,
        ),
        np.nan,
    )
    for line in heads:
        if (line.metric, line.site, line.condition, line.x) == (
            first.metric,
            first.site,
            first.condition,
            first.x,
        ):
            grid[line.component.layer, line.component.index] = line.mean
    strongest = float(np.nanmax(np.abs(grid))) or 1.0
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        grid,
        cmap="RdBu_r",
        vmin=-strongest,
        vmax=strongest,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
    )
    axes.set(xlabel="head", ylabel="layer", title=title)
    figure.colorbar(image, ax=axes, label=first.metric)
    figure.savefig(path, dpi=120)
    return True
