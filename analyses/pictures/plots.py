"""The pictures that an analysis declares: names and functions, without loading matplotlib."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from analyses.errors import Refused
from analyses.pictures.findings import Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Draws the results of a run; None if there is nothing to draw.
Plot = Callable[[Findings], "Figure | None"]

HEADS = "heads"  # the map of the headline; every analysis with scores of heads gets it
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")


class BadPlotName(Refused):
    def __init__(self, analysis: str, name: str) -> None:
        super().__init__(
            f"Invalid plot name {name!r} of analysis {analysis!r}: it becomes a file name. Use "
            "lower-case letters, digits, - and _, without an extension, such as 'strongest'."
        )


def check_names(analysis: str, plots: Mapping[str, Any]) -> None:
    """Raises `BadPlotName` if a plot's name cannot be a file name."""
    for name in plots:
        if not _NAME.fullmatch(name):
            raise BadPlotName(analysis, name)


def loaded(plot: Plot | str) -> Plot:
    """The plot function itself; imported if it is given as `module:function`."""
    if callable(plot):
        return plot
    module, _, name = plot.partition(":")
    function: Plot = getattr(import_module(module), name)
    return function
