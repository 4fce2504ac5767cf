"""Bar charts with intervals: ranked, grouped and stacked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.pictures.drawing import COLOURS, GREY, canvas, error_bars, n_label
from analyses.pictures.findings import Estimate

ERROR = {"ecolor": "black", "elinewidth": 0.8}
LINE = 0.2  # height of a bar's row, in inches
ROOM = 0.8  # width of a group, as a share of the distance between groups


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar; its `group` sets the colour and the legend entry."""

    label: str
    estimate: Estimate
    group: str


def ranked_bars(bars: Sequence[Bar], *, groups: Sequence[str], label: str) -> Figure:
    """Horizontal bars with intervals, the first at the top; one colour per group."""
    figure, axes = canvas(height=1.0 + LINE * len(bars))
    for group, colour in zip(groups, COLOURS, strict=False):
        places = [place for place, bar in enumerate(bars) if bar.group == group]
        if not places:
            continue
        estimates = [bars[place].estimate for place in places]
        axes.barh(
            places,
            [each.mean for each in estimates],
            xerr=error_bars(estimates),
            color=colour,
            label=group,
            error_kw=ERROR,
            height=0.7,
        )
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{label}, {n_label(bar.estimate for bar in bars)}")
    axes.legend()
    return figure


def draw_groups(
    axes: Axes, series: Mapping[str, Mapping[str, Estimate]], *, groups: Sequence[str]
) -> None:
    """For each group, such as a mutation, one bar per series side by side, with intervals."""
    width = ROOM / max(1, len(series))
    for number, (name, by_group) in enumerate(series.items()):
        places = [place for place, group in enumerate(groups) if group in by_group]
        estimates = [by_group[groups[place]] for place in places]
        axes.bar(
            [place - ROOM / 2 + width * (number + 0.5) for place in places],
            [each.mean for each in estimates],
            yerr=error_bars(estimates),
            width=0.9 * width,
            color=COLOURS[number % len(COLOURS)],
            label=name,
            error_kw=ERROR,
        )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.axhline(0, color="black", linewidth=0.8)


def grouped_bars(
    series: Mapping[str, Mapping[str, Estimate]],
    *,
    groups: Sequence[str],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """A chart with one bar per series in each group, with intervals."""
    figure, axes = canvas(height=3.2)
    draw_groups(axes, series, groups=groups)
    every = [each for by_group in series.values() for each in by_group.values()]
    axes.set(xlabel=f"{xlabel} ({n_label(every)})", ylabel=ylabel)
    if len(groups) > 6:
        axes.tick_params(axis="x", labelrotation=30)
    figure.legend(loc="outside lower center", ncols=len(series))
    return figure


def stacked_bars(
    parts: Mapping[str, Mapping[str, Estimate]], *, label: str, rows: Sequence[str]
) -> Figure:
    """One stacked bar per row, with the parts in order; only the first part has an interval."""
    figure, axes = canvas(height=1.4 + LINE * len(rows))
    ends = dict.fromkeys(rows, 0.0)
    for number, (name, by_row) in enumerate(parts.items()):
        present = [row for row in rows if row in by_row]
        axes.barh(
            [rows.index(row) for row in present],
            [by_row[row].mean for row in present],
            left=[ends[row] for row in present],
            xerr=None if number else error_bars(by_row[row] for row in present),
            color=GREY if name == "rest" else COLOURS[number % len(COLOURS)],
            label=name,
            error_kw=ERROR,
            height=0.75,
        )
        for row in present:
            ends[row] += by_row[row].mean
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    every = [each for by_row in parts.values() for each in by_row.values()]
    axes.set_xlabel(f"{label}, {n_label(every)}")
    figure.legend(loc="outside lower center", ncols=4)
    return figure
