"""How every picture looks, and how it becomes a PNG. Nothing here needs a display."""

import textwrap
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from typing import Any

from cycler import cycler
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from analyses.pictures.findings import Estimate
from analyses.shown import plain

# Okabe and Ito's colours, which people who see red and green alike can tell apart.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"),
)
GREY = "#777777"
MARKERS = "osD^vP*X"
WIDTH = 6.5  # inches: the text of a page
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "errorbar.capsize": 2,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 200,
    "text.parse_math": False,  # labels of prompts may be dollar signs
}
_LETTERS = 15  # of a title in an inch


def canvas(width: float = WIDTH, height: float = 3.5) -> tuple[Figure, Axes]:
    """A figure of so many inches with one pair of axes."""
    figure, (axes,) = panels(1, 1, width=width, height=height)
    return figure, axes


def panels(
    rows: int,
    columns: int,
    *,
    same_x: bool = True,
    width: float = WIDTH,
    height: float = 3.5,
) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of axes, row by row, on the same y scale, and the same x unless told."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=same_x, sharey=True, squeeze=False)
    return figure, list(grid.flat)


def png(figure: Figure, *, title: str) -> bytes:
    """The figure under a title, as a file."""
    letters = int(_LETTERS * figure.get_figwidth())
    lines = [textwrap.fill(line, letters) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=8, color=GREY)
    _spell(figure)
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _spell(figure: Figure) -> None:
    """Every text of the figure as it is: no formula, and no character without a glyph."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(labels := axis.get_major_formatter(), FuncFormatter):  # given ones
                labels.func = partial(_spelled, labels.func)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
            text.set_text(_spelled(text.get_text))


def _spelled(label: Callable[..., str], *where: Any) -> str:
    return plain(label(*where)).replace("\t", " ")


def styled() -> AbstractContextManager[None]:
    """Inside the block, what is drawn looks as all our pictures do; a matplotlibrc is nothing."""
    return style.context(["default", STYLE])


def said_n(estimates: Iterable[Estimate]) -> str:
    """How many prompts are behind each: `n = 64`, or `n = 12 to 16` where they differ."""
    numbers = {each.n for each in estimates}
    if not numbers:
        return "n = 0"
    low, high = min(numbers), max(numbers)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def reach(estimates: Iterable[Estimate]) -> list[list[float]]:
    """How far intervals reach below and above their means, as matplotlib wants error bars."""
    each = list(estimates)
    below = [0.0 if e.ci_low is None else max(0.0, e.mean - e.ci_low) for e in each]
    above = [0.0 if e.ci_high is None else max(0.0, e.ci_high - e.mean) for e in each]
    return [below, above]
