"""Keys along their leading directions: is what they say the n-th item, or the symbol?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyses.pictures import drawing
from analyses.pictures.drawing import COLOURS, MARKERS
from analyses.pictures.findings import Findings
from analyses.results import Component, Kind

SHOWN = 3  # layers
GROUPS = ("by=index", "by=symbol")
MOST = 8  # groups that have colours of their own; others share them


def nth_item(findings: Findings) -> Figure | None:
    """Heads whose keys tell options' places, coloured by place above, by symbol below.

    Every point is an option's key in one prompt, along the two directions of most variance.
    """
    heads = _heads(findings)
    if not heads:
        return None
    keys = findings.tensor("k_projection").values  # [prompt, option, layer, kv_head, dim]
    symbols = np.unique(findings.tensor("symbols").values, return_inverse=True)[1]
    there = ~np.isnan(keys).any(axis=(1, 2, 3, 4))
    prompts, options = keys.shape[:2]
    index = np.tile(np.arange(options), (prompts, 1))
    figure, grid = drawing.panels(2, len(heads), same_x=False, height=4.4)
    for column, head in enumerate(heads):
        points = keys[there][:, :, head.layer, head.index, :2].reshape(-1, 2)
        for row, groups in enumerate((index, symbols.reshape(prompts, options))):
            axes = grid[row * len(heads) + column]
            _points(axes, points, groups[there].ravel())
            axes.set_title(f"{head.label}, by {('place', 'symbol')[row]}")
            axes.set_xlabel("first direction")
    figure.supylabel(f"second direction, n = {there.sum()} prompts", fontsize=9)
    return figure


def _heads(findings: Findings) -> list[Component]:
    """Of each of the last layers the one whose leading two directions tell places best.

    In the first layer every label's key is its own, whatever the question.
    """
    told: dict[Component, float] = {}
    scores = findings.where(Kind.KV_HEAD, metric="explained", condition=GROUPS[0], site="k")
    for key, found in scores.items():
        if key.x <= 2:
            told[key.component] = max(found.mean, told.get(key.component, 0.0))
    layers = sorted({head.layer for head in told})[-SHOWN:]
    return [
        min((head for head in told if head.layer == layer), key=lambda head: (-told[head], head))
        for layer in layers
    ]


def _points(axes: Axes, points: NDArray[np.generic], groups: NDArray[np.int64]) -> None:
    for number in np.unique(groups):
        mine = points[groups == number]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=6,
            color=COLOURS[int(number) % MOST],
            marker=MARKERS[int(number) % len(MARKERS)],
            linewidths=0,
            alpha=0.7,
        )
