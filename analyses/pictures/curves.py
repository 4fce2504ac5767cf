"""Curves of a metric by a coordinate, such as a rank or a count, with bands for intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analyses.pictures import drawing
from analyses.pictures.drawing import COLOURS, GREY, MARKERS, said_n
from analyses.pictures.findings import Estimate, Findings
from analyses.quantities import VARIANT, Quantity, Varied, spelled
from analyses.results import Kind

LONGEST = 16  # up to which x the axis is linear; above, each doubling takes the same room
LEGEND = 6  # entries in a line
DASHES = ("--", ":", "-.")
VARIANTS = ("placebo", VARIANT)
ITSELF = "leading subspace"  # what stands beside placebos


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve over x; a `variant` stands beside what is called `name` alone: its placebo."""

    name: str
    variant: str = ""
    points: Mapping[float, Estimate]


Levels = Mapping[str, float]  # horizontal lines to compare with, by name


def curves_of(findings: Findings, metric: str, order: Sequence[str] = ()) -> list[Curve]:
    """A curve for each quantity of the model or of sets that has several x.

    One with a `placebo` or a `variant` stands beside the same without. Names in `order` come first.
    """
    points: dict[tuple[str, str], dict[float, Estimate]] = {}
    scores = sorted(findings.where(Kind.MODEL, Kind.SET, metric=metric).items())
    several = len({key.component for key, _ in scores}) > 1
    for key, found in scores:
        name, variant = _name(key.quantity), _variant(key.quantity)
        whole = f"{key.component.label} {name}".strip() if several else name
        points.setdefault((whole, variant), {})[key.x] = found
    curves = [
        Curve(name=name, variant=variant, points=by_x)
        for (name, variant), by_x in points.items()
        if len(by_x) > 1
    ]
    places = {name: place for place, name in enumerate(order)}
    return sorted(curves, key=lambda curve: places.get(curve.name, len(order)))


def _variant(quantity: Quantity) -> str:
    named = (quantity.varied.get(name) for name in VARIANTS)
    return " ".join(spelled(each).replace("_", " ") for each in named if each is not None)


def _name(quantity: Quantity) -> str:
    """Its site, and what it is of without its variant."""
    rest = {name: each for name, each in quantity.varied.items() if name not in VARIANTS}
    return " ".join(filter(None, (quantity.site, Varied(rest).text)))


def by_rank(
    findings: Findings, metric: str, *, order: Sequence[str] = (), levels: Levels | None = None
) -> Figure | None:
    """A metric by rank: each site in a panel of its own where it has placebos beside it.

    `order` names curves in the order of panels or lines. None without curves.
    """
    curves = curves_of(findings, metric, order)
    together = {"": curves} if curves else {}
    panels = _by_name(curves) if any(curve.variant for curve in curves) else together
    return _draw(panels, findings, metric, xlabel="rank", levels=levels or {})


def by_count(findings: Findings, metric: str, *, levels: Levels | None = None) -> Figure | None:
    """A metric by the number of components that are patched together, the strongest first.

    None without curves.
    """
    curves = curves_of(findings, metric)
    panels = {"": curves} if curves else {}
    xlabel = "number of components, the strongest first"
    return _draw(panels, findings, metric, xlabel=xlabel, levels=levels or {})


def _by_name(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.name, []).append(curve)
    return panels


def _draw(
    panels: Mapping[str, Sequence[Curve]],
    findings: Findings,
    metric: str,
    *,
    xlabel: str,
    levels: Levels,
) -> Figure | None:
    """Panels on the same axes, in rows of three; None without any."""
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    height = 0.9 + (1.9 * rows if len(panels) > 1 else 2.6)
    figure, grid = drawing.panels(rows, columns, height=height)
    for axes, (name, curves) in zip(grid, panels.items(), strict=False):
        _draw_curves(axes, curves)
        for number, (label, level) in enumerate(levels.items()):
            axes.axhline(
                level, color="black", linestyle=DASHES[-1 - number % 3], linewidth=0.8, label=label
            )
        axes.set_title(name)
    for number, axes in enumerate(grid):
        if number + columns >= len(panels):  # nothing below it
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        if number >= len(panels):
            axes.remove()
    every = [e for curves in panels.values() for curve in curves for e in curve.points.values()]
    figure.supylabel(f"{findings.said(metric)}, {said_n(every)}", fontsize=9)
    _legend(figure, grid)
    return figure


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """Lines with bands; variants are grey and dashed, and alone share a panel with their own."""
    alone = len({curve.name for curve in curves}) == 1 and len(curves) > 1
    colours, dashes = iter(range(len(curves))), iter(range(len(curves)))
    for curve in curves:
        xs = sorted(curve.points)
        found = [curve.points[x] for x in xs]
        number = next(dashes) if curve.variant else next(colours)
        colour = GREY if curve.variant else COLOURS[number % len(COLOURS)]
        axes.plot(
            xs,
            [each.mean for each in found],
            color=colour,
            linestyle=DASHES[number % 3] if curve.variant else "-",
            marker=None if curve.variant else MARKERS[number % len(MARKERS)],
            markersize=3,
            linewidth=1.2,
            label=curve.variant or (ITSELF if alone else curve.name.replace("_", " ")),
        )
        axes.fill_between(
            xs,
            [each.mean if each.ci_low is None else each.ci_low for each in found],
            [each.mean if each.ci_high is None else each.ci_high for each in found],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
    _scale(axes, [x for curve in curves for x in curve.points])


def _scale(axes: Axes, xs: Sequence[float]) -> None:
    furthest = max(xs)
    if furthest <= LONGEST:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    axes.set_xscale("symlog", base=2, linthresh=1)
    powers = [2**power for power in range(int(math.log2(furthest)) + 1)]
    ticks = [each for each in (0, *powers) if each >= min(xs)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One for all panels, each name once; none for a single line without a name."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), line)
    if set(entries) - {""}:
        ncols = min(LEGEND, len(entries))
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=ncols
        )
