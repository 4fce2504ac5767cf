"""The style of all pictures, and their export as PNG. No display is needed."""

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

# The palette of Okabe and Ito, which is safe for colour-blind readers.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"),
)
GREY = "#777777"
MARKERS = "osD^vP*X"
WIDTH = 6.5  # inches: the text width of a page
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
    "text.parse_math": False,  # prompts may have dollar signs as labels
}
_LETTERS = 15  # characters of a title per inch


def canvas(width: float = WIDTH, height: float = 3.5) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; width and height in inches."""
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
    """A figure with a grid of axes, in row order, that share y, and x unless `same_x` is False."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=same_x, sharey=True, squeeze=False)
    return figure, list(grid.flat)


def png(figure: Figure, *, title: str) -> bytes:
    """The figure with a title, as the bytes of a PNG file."""
    letters = int(_LETTERS * figure.get_figwidth())
    lines = [textwrap.fill(line, letters) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=8, color=GREY)
    _spell(figure)
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _spell(figure: Figure) -> None:
    """Show every text of the figure literally: no formulas, no characters without a glyph."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(
                labels := axis.get_major_formatter(), FuncFormatter
            ):  # explicit tick labels
                labels.func = partial(_spelled, labels.func)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
            text.set_text(_spelled(text.get_text))


def _spelled(label: Callable[..., str], *where: Any) -> str:
    return plain(label(*where)).replace("\t", " ")


def styled() -> AbstractContextManager[None]:
    """A context in which figures have our style, whatever matplotlibrc says."""
    return style.context(["default", STYLE])


def n_label(estimates: Iterable[Estimate]) -> str:
    """The number of prompts of the estimates: `n = 64`, or `n = 12 to 16` if it differs."""
    numbers = {each.n for each in estimates}
    if not numbers:
        return "n = 0"
    low, high = min(numbers), max(numbers)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def error_bars(estimates: Iterable[Estimate]) -> list[list[float]]:
    """Distances of interval ends below and above the means, as matplotlib expects error bars."""
    each = list(estimates)
    below = [0.0 if e.ci_low is None else max(0.0, e.mean - e.ci_low) for e in each]
    above = [0.0 if e.ci_high is None else max(0.0, e.ci_high - e.mean) for e in each]
    return [below, above]
