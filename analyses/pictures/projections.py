"""Keys along their leading directions: do they encode the option's index or its symbol?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyses import plurals
from analyses.pictures import drawing
from analyses.pictures.drawing import COLOURS, MARKERS
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Component, Kind

Numbers = NDArray[np.integer[Any]]

SHOWN = 3  # layers
EXPLAINED = "explained"  # metric: share of a direction's variance between groups


def nth_item(findings: Findings) -> Figure | None:
    """Keys of heads that encode the option's index, coloured by index above and symbol below.

    Every point is an option's key in one prompt, along the two directions of largest variance.
    """
    heads = _heads(findings)
    if not heads:
        return None
    keys = findings.tensor("k_projection").values  # [prompt, option, layer, kv_head, dim]
    labels = findings.tensor("symbols").values  # [prompt, label]: of the options, in their order
    counted = ~np.isnan(keys).any(axis=(1, 2, 3, 4))
    symbols = np.unique(labels[counted], return_inverse=True)[1].reshape(-1, keys.shape[1])
    indices = np.broadcast_to(np.arange(keys.shape[1]), symbols.shape)
    figure, grid = drawing.panels(2, len(heads), same_x=False, height=4.8)
    for row, (name, numbers) in enumerate({"index": indices, "symbol": symbols}.items()):
        for head, axes in zip(heads, grid[row * len(heads) :], strict=False):
            points = keys[counted][:, :, head.layer, head.index, :2].reshape(-1, 2)
            _points(axes, points, numbers.ravel())
            share = _of(findings, head, "variance_share", {})
            axes.set_xlabel(f"first direction ({_share(share)} of variance)", fontsize=8)
            explained = _of(findings, head, EXPLAINED, {"by": name})
            axes.set_title(f"{head.label}: {name} explains {_share(explained)}", fontsize=8)
    n = plurals.counted(int(counted.sum()), "prompt")
    figure.supylabel(f"second direction, n = {n}, 95 % intervals", fontsize=9)
    entries = grid[0].get_legend_handles_labels()
    if len(entries[1]) <= len(COLOURS):
        figure.legend(
            *entries,
            title="index of the option (upper row)",
            loc="outside lower center",
            ncols=len(COLOURS),
            markerscale=2,
        )
    return figure


def _heads(findings: Findings) -> list[Component]:
    """In each of the last layers, the head whose first direction explains the index best.

    Earlier layers are left out: in the first, a label's key only depends on the label.
    """
    scores = findings.where(Kind.KV_HEAD, metric=EXPLAINED, varied={"by": "index"}, site="k")
    explained = {key.component: estimate.mean for key, estimate in scores.items() if key.x == 1}
    layers = sorted({head.layer for head in explained})[-SHOWN:]
    return [
        min(
            (head for head in explained if head.layer == layer),
            key=lambda head: (-explained[head], head),
        )
        for layer in layers
    ]


def _of(findings: Findings, head: Component, metric: str, varied: Mapping[str, str]) -> Estimate:
    """A score of the first direction of a head's keys."""
    scores = findings.where(Kind.KV_HEAD, metric=metric, varied=varied, site="k")
    return next(estimate for key, estimate in scores.items() if (key.component, key.x) == (head, 1))


def _share(share: Estimate) -> str:
    """A share with its interval, if it has one: `25% [20, 31]`."""
    if share.ci_low is None or share.ci_high is None:
        return f"{share.mean:.0%}"
    return f"{share.mean:.0%} [{100 * share.ci_low:.0f}, {100 * share.ci_high:.0f}]"


def _points(axes: Axes, points: NDArray[np.generic], numbers: Numbers) -> None:
    """A colour for each number; with more numbers than colours, also different markers."""
    several = numbers.max() >= len(COLOURS)
    for number in np.unique(numbers):
        group = points[numbers == number]
        shape = number // len(COLOURS) if several else number
        axes.scatter(
            group[:, 0],
            group[:, 1],
            s=7,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[shape % len(MARKERS)],
            linewidths=0,
            alpha=0.7,
            label=str(number),
        )
