"""The map of layer × position: the effect of patching each layer at each position."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from analyses.pictures.drawing import n_label, panels
from analyses.pictures.findings import Estimate, Findings
from analyses.pictures.heads import HATCH, NO_VALUE
from analyses.results import MODEL, Kind

ON = "logit_diff"
SITES = {  # by the title of their map
    "residual that enters the layer": (Kind.MODEL, "resid_pre"),
    "attention": (Kind.ATTN, "attn_out"),
    "MLP": (Kind.MLP, "mlp_out"),
}
CELL = 0.09  # inches a layer is high
ABOVE = 0.35  # inches for the title of a map
BELOW = 1.0  # for the names of positions and the legend
TALLEST = 8.5

Cells = Mapping[tuple[int, str], Estimate]  # by layer and position


def position_maps(findings: Findings) -> Figure | None:
    """A map for each site, of the same positions in the prompts' order; None without any."""
    maps = {title: _cells(findings, kind, site) for title, (kind, site) in SITES.items()}
    maps = {title: cells for title, cells in maps.items() if cells}
    if not maps:
        return None
    positions = _in_order(findings, {name for cells in maps.values() for _, name in cells})
    n_layers = max(layer for cells in maps.values() for layer, _ in cells) + 1
    height = min(TALLEST, BELOW + len(maps) * (ABOVE + max(0.8, CELL * n_layers)))
    figure, every_axes = panels(len(maps), 1, height=height)
    every = [each for cells in maps.values() for each in cells.values()]
    furthest = max(abs(each.mean) for each in every) or 1.0
    for axes, (title, cells) in zip(every_axes, maps.items(), strict=True):
        image = _draw(axes, cells, positions, n_layers, furthest)
        axes.set_title(title)
        axes.set_ylabel("layer")
    axes.set_xticks(range(len(positions)), positions, rotation=90)
    bar = figure.colorbar(image, ax=every_axes)
    of = findings.axis_label("total_effect", {"of": ON})
    bar.set_label(f"mean {of}, {n_label(every)}")
    bar.outline.set_visible(False)
    dots = "dot: the" if any(each.excludes_zero for each in every) else "no"
    complete = len(every) == len(maps) * n_layers * len(positions)
    legend = f"{dots} 95 % interval of the cell excludes 0"
    figure.supxlabel(legend if complete else f"{legend}; hatched: no value", fontsize=8)
    return figure


def _cells(findings: Findings, kind: Kind, site: str) -> Cells:
    scores = findings.where(kind, metric="total_effect", site=site)
    return {
        (key.component.layer, str(key.quantity.varied["at"])): estimate
        for key, estimate in scores.items()
        if key.quantity.varied.get("of") == ON and "at" in key.quantity.varied
    }


def _in_order(findings: Findings, names: set[str]) -> list[str]:
    """Positions by where they are in the prompts, on average."""
    where = {
        str(key.quantity.varied["at"]): estimate.mean
        for key, estimate in findings.where(MODEL.kind, metric="position").items()
    }
    return sorted(names, key=lambda name: (where.get(name, np.inf), name))


def _draw(
    axes: Axes, cells: Cells, positions: Sequence[str], n_layers: int, furthest: float
) -> AxesImage:
    column = {name: number for number, name in enumerate(positions)}
    values = np.full((n_layers, len(positions)), np.nan)
    for (layer, name), estimate in cells.items():
        values[layer, column[name]] = estimate.mean
    axes.patch.set(facecolor=NO_VALUE, edgecolor=HATCH, hatch="xxxx")
    axes.spines[:].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    significant = [where for where, each in cells.items() if each.excludes_zero]
    axes.scatter(
        [column[name] for _, name in significant],
        [layer for layer, _ in significant],
        s=0.8,
        c=["white" if abs(cells[each].mean) > 0.6 * furthest else "black" for each in significant],
        linewidths=0,
    )
    return axes.imshow(
        values,
        cmap="RdBu_r",
        vmin=-furthest,
        vmax=furthest,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
