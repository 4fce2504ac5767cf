"""Keys along their leading directions: is what they say the n-th item, or the symbol?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyses.pictures import drawing
from analyses.pictures.drawing import COLOURS, MARKERS
from analyses.pictures.findings import Estimate, Findings
from analyses.plurals import counted
from analyses.results import Component, Kind

Numbers = NDArray[np.integer[Any]]

SHOWN = 3  # layers
TOLD = "explained"  # the share of a direction's variance that lies between groups


def nth_item(findings: Findings) -> Figure | None:
    """Heads whose keys tell options' places, coloured by place above, by symbol below.

    Every point is an option's key in one prompt, along the two directions of most variance.
    """
    heads = _heads(findings)
    if not heads:
        return None
    keys = findings.tensor("k_projection").values  # [prompt, option, layer, kv_head, dim]
    labels = findings.tensor("symbols").values  # [prompt, label]: of the options, in their order
    there = ~np.isnan(keys).any(axis=(1, 2, 3, 4))
    symbols = np.unique(labels[there], return_inverse=True)[1].reshape(-1, keys.shape[1])
    places = np.broadcast_to(np.arange(keys.shape[1]), symbols.shape)
    figure, grid = drawing.panels(2, len(heads), same_x=False, height=4.8)
    for row, (name, numbers) in enumerate({"index": places, "symbol": symbols}.items()):
        for head, axes in zip(heads, grid[row * len(heads) :], strict=False):
            points = keys[there][:, :, head.layer, head.index, :2].reshape(-1, 2)
            _points(axes, points, numbers.ravel())
            share = _of(findings, head, "variance_share", {})
            axes.set_xlabel(f"first direction ({_said(share)} of variance)", fontsize=8)
            told = _of(findings, head, TOLD, {"by": name})
            axes.set_title(f"{head.label}: {name} explains {_said(told)}", fontsize=8)
    n = counted(int(there.sum()), "prompt")
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
    """Of each of the last layers the one whose first direction tells places best.

    In the first layer every label's key is its own, whatever the question.
    """
    scores = findings.where(Kind.KV_HEAD, metric=TOLD, varied={"by": "index"}, site="k")
    told = {key.component: found.mean for key, found in scores.items() if key.x == 1}
    layers = sorted({head.layer for head in told})[-SHOWN:]
    return [
        min((head for head in told if head.layer == layer), key=lambda head: (-told[head], head))
        for layer in layers
    ]


def _of(findings: Findings, head: Component, metric: str, varied: Mapping[str, str]) -> Estimate:
    """A number about the first direction of a head's keys."""
    scores = findings.where(Kind.KV_HEAD, metric=metric, varied=varied, site="k")
    return next(found for key, found in scores.items() if (key.component, key.x) == (head, 1))


def _said(share: Estimate) -> str:
    """A share with its interval, where there is one: `25% [20, 31]`."""
    if share.ci_low is None or share.ci_high is None:
        return f"{share.mean:.0%}"
    return f"{share.mean:.0%} [{100 * share.ci_low:.0f}, {100 * share.ci_high:.0f}]"


def _points(axes: Axes, points: NDArray[np.generic], numbers: Numbers) -> None:
    """A colour for each number, and with more of them than colours another shape."""
    several = numbers.max() >= len(COLOURS)
    for number in np.unique(numbers):
        mine = points[numbers == number]
        shape = number // len(COLOURS) if several else number
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=7,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[shape % len(MARKERS)],
            linewidths=0,
            alpha=0.7,
            label=str(number),
        )
