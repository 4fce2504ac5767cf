"""One number of every head, as a map of layer by head."""

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analyses.pictures.drawing import canvas, said_n
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Component, Kind

CELL = 0.24  # inches, where the page is large enough
WIDEST, TALLEST = 6.5, 6.5
LETTERS = 11  # of the colour bar's label in an inch
NO_VALUE = "#DDDDDD"


def headline_map(findings: Findings) -> Figure | None:
    """The map of the score that the analysis shows first; of the first, where it names none."""
    heads = findings.where(Kind.HEAD)
    metric, condition = findings.headline
    if not any((key.metric, key.condition) == (metric, condition) for key in heads):
        first = min(heads, default=None)
        if first is None:
            return None
        metric, condition = first.metric, first.condition
    return head_map(
        findings.of_components(Kind.HEAD, metric=metric, condition=condition),
        label=findings.said(metric, condition),
        shape=_shape([key.component for key in heads]),
    )


def head_map(
    heads: Mapping[Component, Estimate],
    *,
    label: str,
    shape: tuple[int, int] | None = None,
) -> Figure:
    """Layer by head, layer 0 at the bottom; grey is a head without a value.

    Where values have both signs, white is 0, both colours end equally far from it, and a dot says
    that the head's interval leaves 0 out. `shape` is the number of layers and of heads in each.
    """
    grid = np.full(shape or _shape(list(heads)), np.nan)
    for component, estimate in heads.items():
        grid[component.layer, component.index] = estimate.mean
    n_layers, n_heads = grid.shape
    width = min(WIDEST, max(3.6, 1.8 + CELL * n_heads))
    height = min(TALLEST, max(2.6, 1.1 + CELL * n_layers))
    figure, axes = canvas(width, height)
    signed = bool((grid < 0).any())
    furthest = float(np.nanmax(np.abs(grid), initial=0.0)) or 1.0
    image = axes.imshow(
        grid,
        cmap="RdBu_r" if signed else "cividis",
        vmin=-furthest if signed else 0.0,
        vmax=furthest,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_facecolor(NO_VALUE)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="head", ylabel="layer")
    bar = figure.colorbar(image, ax=axes)
    said = f"mean {label}, {said_n(heads.values())}"
    bar.set_label(textwrap.fill(said, int(LETTERS * height)))
    bar.outline.set_visible(False)
    if signed:
        cell = 72 * min((width - 1.8) / n_heads, (height - 1.1) / n_layers)  # points
        _mark(axes, heads, furthest=furthest, cell=cell)
    return figure


def _shape(heads: list[Component]) -> tuple[int, int]:
    return max(each.layer for each in heads) + 1, max(each.index for each in heads) + 1


def _mark(axes: Axes, heads: Mapping[Component, Estimate], *, furthest: float, cell: float) -> None:
    """A dot in each head whose interval leaves 0 out, and what it means."""
    sure = [component for component, each in heads.items() if each.apart_from_zero]
    said = "dot: the head's own" if sure else "no head's own"
    axes.set_title(f"{said} 95 % interval leaves 0 out", fontsize=8, loc="left")
    axes.scatter(
        [each.index for each in sure],
        [each.layer for each in sure],
        s=max(0.4, (cell / 6) ** 2),
        c=["white" if abs(heads[each].mean) > 0.6 * furthest else "black" for each in sure],
        linewidths=0,
    )
