"""A grid: options that were given several values, and every combination of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from tracker.errors import TrackerError

MOST_CELLS = 1000
MOST_COUNTED = 10**15  # what is beyond is no number that anybody reads
MOST_SHOWN = 100  # characters of a value in the name of a cell


class TooManyCells(TrackerError):
    def __init__(self, count: int) -> None:
        counted = str(count) if count < MOST_COUNTED else "very many"
        super().__init__(
            f"These options make {counted} runs; at the most {MOST_CELLS} are queued together. "
            "Queue them in several commands, in one study if you like."
        )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of every option; `varied` holds those of which the grid has others too."""

    chosen: Mapping[str, Any]
    varied: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What tells it from the others, as it is written in a shell; empty where it is alone."""
        return " ".join(f"{option}={_short(str(value))}" for option, value in self.varied.items())


def cells(options: Mapping[str, Sequence[Any] | None]) -> list[Cell]:
    """Every combination of the options' values, the last option varying fastest.

    Options without a value are left out. Raises `TooManyCells`.
    """
    axes = {option: list(dict.fromkeys(values)) for option, values in options.items() if values}
    count = math.prod(map(len, axes.values()))
    if count > MOST_CELLS:
        raise TooManyCells(count)
    several = [option for option, values in axes.items() if len(values) > 1]
    choices = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [
        Cell(chosen=chosen, varied={option: chosen[option] for option in several})
        for chosen in choices
    ]


def _short(value: str) -> str:
    return value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}…"
