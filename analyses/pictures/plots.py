"""What an analysis may say of its pictures: names and functions; matplotlib is not loaded."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from analyses.errors import Refused
from analyses.pictures.findings import Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Draws what a run has found; None where it has found nothing to draw.
Plot = Callable[[Findings], "Figure | None"]

HEADS = "heads"  # the map of the headline, which every analysis of heads gets
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")


class BadPlotName(Refused):
    def __init__(self, analysis: str, name: str) -> None:
        super().__init__(
            f"The analysis {analysis!r} names a picture {name!r}, but it becomes a file: use small "
            "letters, digits, - and _, without an ending, such as 'strongest'."
        )


def check_names(analysis: str, plots: Mapping[str, Any]) -> None:
    """Raises `BadPlotName`."""
    for name in plots:
        if not _NAME.fullmatch(name):
            raise BadPlotName(analysis, name)


def loaded(plot: Plot | str) -> Plot:
    """The function that draws, imported where it is given as `module:function`."""
    if callable(plot):
        return plot
    module, _, name = plot.partition(":")
    function: Plot = getattr(import_module(module), name)
    return function
