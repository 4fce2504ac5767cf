"""Bars with intervals: one above the other by size, side by side in groups, and stacked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.pictures.drawing import COLOURS, GREY, canvas, reach, said_n
from analyses.pictures.findings import Estimate

ERROR = {"ecolor": "black", "elinewidth": 0.8}
LINE = 0.2  # inches that a bar takes on the page
ROOM = 0.8  # of a group's place


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: `group` gives it its colour and its line in the legend."""

    label: str
    estimate: Estimate
    group: str


def ranked_bars(bars: Sequence[Bar], *, groups: Sequence[str], label: str) -> Figure:
    """Bars from 0 with their intervals, the first at the top; groups keep their colours."""
    figure, axes = canvas(height=1.0 + LINE * len(bars))
    for group, colour in zip(groups, COLOURS, strict=False):
        places = [place for place, bar in enumerate(bars) if bar.group == group]
        if not places:
            continue
        estimates = [bars[place].estimate for place in places]
        axes.barh(
            places,
            [each.mean for each in estimates],
            xerr=reach(estimates),
            color=colour,
            label=group,
            error_kw=ERROR,
            height=0.7,
        )
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{label}, {said_n(bar.estimate for bar in bars)}")
    axes.legend()
    return figure


def draw_groups(
    axes: Axes, series: Mapping[str, Mapping[str, Estimate]], *, groups: Sequence[str]
) -> None:
    """For each group, such as a mutation, one bar of every series side by side, with intervals."""
    width = ROOM / max(1, len(series))
    for number, (name, by_group) in enumerate(series.items()):
        there = [place for place, group in enumerate(groups) if group in by_group]
        estimates = [by_group[groups[place]] for place in there]
        axes.bar(
            [place - ROOM / 2 + width * (number + 0.5) for place in there],
            [each.mean for each in estimates],
            yerr=reach(estimates),
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
    """One bar of every series in each group, with intervals."""
    figure, axes = canvas(height=3.2)
    draw_groups(axes, series, groups=groups)
    every = [each for by_group in series.values() for each in by_group.values()]
    axes.set(xlabel=f"{xlabel} ({said_n(every)})", ylabel=ylabel)
    if len(groups) > 6:
        axes.tick_params(axis="x", labelrotation=30)
    figure.legend(loc="outside lower center", ncols=len(series))
    return figure


def stacked_bars(
    parts: Mapping[str, Mapping[str, Estimate]], *, label: str, rows: Sequence[str]
) -> Figure:
    """One bar per row, made of the parts in their order; the first part has its interval."""
    figure, axes = canvas(height=1.4 + LINE * len(rows))
    ends = dict.fromkeys(rows, 0.0)
    for number, (name, by_row) in enumerate(parts.items()):
        there = [row for row in rows if row in by_row]
        axes.barh(
            [rows.index(row) for row in there],
            [by_row[row].mean for row in there],
            left=[ends[row] for row in there],
            xerr=None if number else reach(by_row[row] for row in there),
            color=GREY if name == "rest" else COLOURS[number % len(COLOURS)],
            label=name,
            error_kw=ERROR,
            height=0.75,
        )
        for row in there:
            ends[row] += by_row[row].mean
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    every = [each for by_row in parts.values() for each in by_row.values()]
    axes.set_xlabel(f"{label}, {said_n(every)}")
    figure.legend(loc="outside lower center", ncols=4)
    return figure
