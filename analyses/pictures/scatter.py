"""Scatter plots with intervals in both directions and names of the strongest points."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analyses.pictures.drawing import COLOURS, MARKERS, canvas, error_bars, n_label
from analyses.pictures.findings import Estimate

NAMED = 10
DISTANCES = (8, 18, 30, 44)  # from a point to its name, in points; the nearest free one is used
DIRECTIONS = 12


class Point(NamedTuple):
    name: str
    x: Estimate
    y: Estimate


def scatter(groups: Mapping[str, Sequence[Point]], *, xlabel: str, ylabel: str) -> Figure:
    """Groups of points by colour and marker, and the line x = y.

    Points furthest from 0 on the y axis are labelled with their names.
    """
    figure, axes = canvas(width=5.0, height=4.6)
    for number, (name, points) in enumerate(groups.items()):
        axes.errorbar(
            [point.x.mean for point in points],
            [point.y.mean for point in points],
            xerr=error_bars(point.x for point in points),
            yerr=error_bars(point.y for point in points),
            fmt=MARKERS[number],
            color=COLOURS[number],
            markersize=3.5,
            elinewidth=0.6,
            capsize=0,
            alpha=0.8,
            label=name,
        )
    axes.axline((0, 0), slope=1, color="black", linestyle=":", linewidth=0.8, label="x = y")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.axvline(0, color="black", linewidth=0.5)
    every = [point for points in groups.values() for point in points]
    axes.set(xlabel=xlabel, ylabel=f"{ylabel}, {n_label(point.y for point in every)}")
    axes.margins(0.08)
    axes.legend()
    _name(figure, axes, sorted(every, key=lambda point: -abs(point.y.mean))[:NAMED])
    return figure


def _name(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Label points, avoiding overlaps with other names and labelled points where possible."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()  # computes the positions of points
    taken = [_box(axes, point) for point in points]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent(renderer))
    for point in points:
        for place in _places():
            text = axes.annotate(
                point.name,
                (point.x.mean, point.y.mean),
                xytext=place,
                textcoords="offset points",
                ha="left" if place[0] > 0 else "right",
                va="center",
                fontsize=7,
                arrowprops={"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
            )
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer).padded(2)  # excluding its arrow
            inside = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _places() -> Iterator[tuple[float, float]]:
    for distance in DISTANCES:
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * (step + 0.5) / DIRECTIONS
            yield distance * math.cos(angle), distance * math.sin(angle)


def _box(axes: Axes, point: Point) -> Bbox:
    """The bounding box of a point, in pixels."""
    x, y = axes.transData.transform((point.x.mean, point.y.mean))
    return Bbox.from_extents(x - 4, y - 4, x + 4, y + 4)
