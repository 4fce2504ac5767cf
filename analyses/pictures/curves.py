"""Curves of a metric by a coordinate, such as a rank or a count, with bands for intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analyses.pictures import drawing
from analyses.pictures.drawing import COLOURS, GREY, MARKERS, n_label
from analyses.pictures.findings import Estimate, Findings
from analyses.quantities import VARIANT, Quantity, Varied, spelled
from analyses.results import Kind

LONGEST = 16  # largest x of a linear axis; beyond it the axis is logarithmic
LEGEND = 6  # entries per line
DASHES = ("--", ":", "-.")
VARIANTS = ("placebo", VARIANT)
ITSELF = "leading subspace"  # the curve that placebos are compared with


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve over x; a curve with a `variant` is a placebo of the curve with only the `name`."""

    name: str
    variant: str = ""
    points: Mapping[float, Estimate]


Levels = Mapping[str, float]  # horizontal reference lines, by name


def curves_of(findings: Findings, metric: str, order: Sequence[str] = ()) -> list[Curve]:
    """A curve for each quantity of the model or of sets with several x.

    A quantity with a `placebo` or `variant` becomes a variant of the same quantity without it.
    Curves named in `order` come first.
    """
    points: dict[tuple[str, str], dict[float, Estimate]] = {}
    scores = sorted(findings.where(Kind.MODEL, Kind.SET, metric=metric).items())
    several = len({key.component for key, _ in scores}) > 1
    for key, estimate in scores:
        name, variant = _name(key.quantity), _variant(key.quantity)
        full_name = f"{key.component.label} {name}".strip() if several else name
        points.setdefault((full_name, variant), {})[key.x] = estimate
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
    """The site and the varied settings, without the variant."""
    rest = {name: each for name, each in quantity.varied.items() if name not in VARIANTS}
    return " ".join(filter(None, (quantity.site, Varied(rest).text)))


def by_rank(
    findings: Findings, metric: str, *, order: Sequence[str] = (), levels: Levels | None = None
) -> Figure | None:
    """A metric by rank; if there are placebos, each site has its own panel.

    `order` gives the order of panels or curves. None if there are no curves.
    """
    curves = curves_of(findings, metric, order)
    together = {"": curves} if curves else {}
    panels = _by_name(curves) if any(curve.variant for curve in curves) else together
    return _draw(panels, findings, metric, xlabel="rank", levels=levels or {})


def by_count(findings: Findings, metric: str, *, levels: Levels | None = None) -> Figure | None:
    """A metric by the number of components patched together, the strongest first.

    None if there are no curves.
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
    """Panels with shared axes, in rows of three; None if there are none."""
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
        if number + columns >= len(panels):  # the last row of its column
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        if number >= len(panels):
            axes.remove()
    every = [e for curves in panels.values() for curve in curves for e in curve.points.values()]
    figure.supylabel(f"{findings.axis_label(metric)}, {n_label(every)}", fontsize=9)
    _legend(figure, grid)
    return figure


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """Lines with bands; variants are grey and dashed."""
    alone = len({curve.name for curve in curves}) == 1 and len(curves) > 1
    colours, dashes = iter(range(len(curves))), iter(range(len(curves)))
    for curve in curves:
        xs = sorted(curve.points)
        estimates = [curve.points[x] for x in xs]
        number = next(dashes) if curve.variant else next(colours)
        colour = GREY if curve.variant else COLOURS[number % len(COLOURS)]
        axes.plot(
            xs,
            [each.mean for each in estimates],
            color=colour,
            linestyle=DASHES[number % 3] if curve.variant else "-",
            marker=None if curve.variant else MARKERS[number % len(MARKERS)],
            markersize=3,
            linewidth=1.2,
            label=curve.variant or (ITSELF if alone else curve.name.replace("_", " ")),
        )
        axes.fill_between(
            xs,
            [each.mean if each.ci_low is None else each.ci_low for each in estimates],
            [each.mean if each.ci_high is None else each.ci_high for each in estimates],
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
    """One legend for all panels, each name once; none for a single unnamed curve."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), line)
    if set(entries) - {""}:
        ncols = min(LEGEND, len(entries))
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=ncols
        )
