"""Maps of one score of every head, layer by head."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from analyses.pictures.drawing import n_label, panels
from analyses.pictures.findings import Estimate, Findings, Grid
from analyses.quantities import Varied
from analyses.results import OUTPUT, Component, Kind, ScoreKey

Heads = Mapping[Component, Estimate]
Shape = tuple[int, int]  # layers, and heads in each

CELL = 0.24  # inches, if the page is large enough
WIDEST, TALLEST = 6.5, 6.5
BESIDE, ABOVE = 1.8, 1.1  # inches for the colour bar, and for title and axis
LETTERS = 11  # characters of the colour bar's label per inch
NO_VALUE, HATCH = "#DDDDDD", "#999999"


def headline_map(findings: Findings) -> Figure | None:
    """The map of the analysis's headline, or of the first score of heads if it has none.

    If there are several sites, the output z is preferred.
    """
    heads = findings.where(Kind.HEAD)
    headline = findings.headline
    named = [key for key in heads if headline and key.quantity.at_any_site == headline.at_any_site]
    if not heads:
        return None
    first = min(
        named or heads,
        key=lambda key: (key.quantity.metric, key.quantity.site != OUTPUT, *_quantity_and_x(key)),
    )
    return head_map(
        {
            key.component: estimate
            for key, estimate in heads.items()
            if _quantity_and_x(key) == _quantity_and_x(first)
        },
        label=_label(findings, first),
        grid=findings.grid,
    )


def head_map(heads: Heads, *, label: str, grid: Grid | None = None) -> Figure:
    """A map of layer by head, layer 0 at the bottom; heads without a value are hatched.

    If any value is negative, the colour scale is symmetric about 0 (white), and a dot marks heads
    whose interval excludes 0. The map has the size of `grid`; without it, it just covers `heads`.
    """
    return head_maps({"": heads}, label=label, grid=grid)


def head_maps(maps: Mapping[str, Heads], *, label: str, grid: Grid | None = None) -> Figure:
    """Several maps by name, side by side, with the same colour scale."""
    shapes = [_shape(heads, grid) for heads in maps.values()]
    n_layers, n_heads = max(n for n, _ in shapes), sum(n for _, n in shapes)
    width = min(WIDEST, max(3.6, BESIDE + CELL * n_heads))
    height = min(TALLEST, max(2.6, ABOVE + CELL * n_layers))
    figure, grid_axes = panels(1, len(maps), same_x=False, width=width, height=height)
    every = {name: list(heads.values()) for name, heads in maps.items()}
    means = [each.mean for estimates in every.values() for each in estimates]
    furthest = max(map(abs, means), default=0.0) or 1.0
    signed = any(mean < 0 for mean in means)
    for axes, (name, heads), size in zip(grid_axes, maps.items(), shapes, strict=True):
        image = _draw(axes, heads, size, signed=signed, furthest=furthest)
        axes.set_title(name)
        if signed:
            cell = 72 * min((width - BESIDE) / n_heads, (height - ABOVE) / n_layers)
            _mark(axes, heads, furthest=furthest, points=cell)
    grid_axes[0].set_ylabel("layer")
    for axes in grid_axes[1:]:
        axes.tick_params(axis="y", left=False)
    bar = figure.colorbar(image, ax=grid_axes)
    text = f"mean {label}, {n_label(each for estimates in every.values() for each in estimates)}"
    bar.set_label(textwrap.fill(text, int(LETTERS * height)))
    bar.outline.set_visible(False)
    if legend := "; ".join(_legend(maps, shapes, signed=signed)):
        figure.supxlabel(legend, fontsize=8)
    return figure


def _legend(maps: Mapping[str, Heads], shapes: Sequence[Shape], *, signed: bool) -> Iterator[str]:
    if signed:
        significant = any(each.excludes_zero for heads in maps.values() for each in heads.values())
        yield f"{'dot: the' if significant else 'no'} head's own 95 % interval excludes 0"
    if sum(map(len, maps.values())) < sum(n_layers * n_heads for n_layers, n_heads in shapes):
        yield "hatched: no value"


def _quantity_and_x(key: ScoreKey) -> tuple[str, Varied, str, float]:
    return key.quantity.metric, key.quantity.varied, key.quantity.site, key.x


def _label(findings: Findings, key: ScoreKey) -> str:
    place = f"at {key.quantity.site}" if key.quantity.site else ""
    x = f"x = {key.x:g}" if key.x or key in findings.with_x else ""
    return ", ".join(
        filter(None, (findings.axis_label(key.quantity.metric, key.quantity.varied), place, x))
    )


def _shape(heads: Heads, grid: Grid | None) -> Shape:
    """The numbers of layers and heads: of the model, or without a grid the smallest that fit."""
    if grid is None:
        return max(each.layer for each in heads) + 1, max(each.index for each in heads) + 1
    return grid.layers, grid.kv_heads if _groups(heads) else grid.heads


def _groups(heads: Heads) -> bool:
    return any(each.kind is Kind.KV_HEAD for each in heads)


def _draw(axes: Axes, heads: Heads, shape: Shape, *, signed: bool, furthest: float) -> AxesImage:
    values = np.full(shape, np.nan)
    for component, estimate in heads.items():
        values[component.layer, component.index] = estimate.mean
    axes.patch.set(facecolor=NO_VALUE, edgecolor=HATCH, hatch="xxxx")
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("key-value head" if _groups(heads) else "head")
    return axes.imshow(
        values,
        cmap="RdBu_r" if signed else "cividis",
        vmin=-furthest if signed else 0.0,
        vmax=furthest,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )


def _mark(axes: Axes, heads: Heads, *, furthest: float, points: float) -> None:
    """A dot in each head whose interval excludes 0; cells are `points` points wide."""
    significant = [component for component, each in heads.items() if each.excludes_zero]
    axes.scatter(
        [each.index for each in significant],
        [each.layer for each in significant],
        s=max(0.4, (points / 6) ** 2),
        c=["white" if abs(heads[each].mean) > 0.6 * furthest else "black" for each in significant],
        linewidths=0,
    )
