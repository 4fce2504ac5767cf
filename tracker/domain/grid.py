"""A grid: one request for every combination of the values of several fields."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from analyses.errors import Refused
from tracker.domain import options
from tracker.domain.options import Path
from tracker.domain.priority import Priority
from tracker.domain.request import (
    Asked,
    AskedPriority,
    Force,
    InvalidRequest,
    RunRequest,
    Study,
)
from tracker.errors import TrackerError

VARIED = ("analysis", "model", "seed")  # as well as fields of the recipe and parameters
MOST_CELLS = 1000
MOST_COUNTED = 10**15  # larger counts are not printed


class TooManyCells(TrackerError):
    def __init__(self, count: int) -> None:
        counted = str(count) if count < MOST_COUNTED else "very many"
        super().__init__(
            f"This makes {counted} runs, but at most {MOST_CELLS} can be queued at once. Use "
            "several commands or files; they can share a study."
        )


class NoValues(InvalidRequest):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The list of values for {'.'.join(path)} in the grid is empty. Write at least one "
            "value. For an empty list as the value, write [[]]."
        )


class Grid(Asked):
    """One request for every combination of values; a list gives several values for a field.

    `analysis`, `model`, `seed`, each field of `recipe` and each of `parameters` may be a list. For
    a value that is itself a list, nest it: `{"layers": [[0, 1]]}` is one value.

    >>> grid = Grid(analysis="patching", model=["a", "b"], parameters={"direction": "noise"})
    >>> [request.model for request in grid.expand()]
    ['a', 'b']
    """

    analysis: Any
    model: Any
    recipe: Mapping[str, Any] = {}
    parameters: Mapping[str, Any] = {}
    seed: Any = 0
    priority: AskedPriority = Priority.NORMAL
    study: Study = None
    force: Force = False

    def expand(self) -> tuple[RunRequest, ...]:
        """The requests; the last field varies fastest.

        Raises `InvalidRequest`, or `TooManyCells` for more than `MOST_CELLS`.
        """
        check_count(self.count)
        axes = self._axes()
        several = [path for path, values in axes.items() if len(values) > 1]
        cells = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
        return tuple(self._request(cell, several) for cell in cells)

    @property
    def count(self) -> int:
        """The number of requests. Raises `NoValues` if a list is empty."""
        return math.prod(map(len, self._axes().values()))

    def _axes(self) -> dict[Path, list[Any]]:
        fields: dict[Path, Any] = {
            ("analysis",): self.analysis,
            ("model",): self.model,
            **{("recipe", field): value for field, value in self.recipe.items()},
            ("seed",): self.seed,
            **{("parameters", name): value for name, value in self.parameters.items()},
        }
        return {path: _values(path, value) for path, value in fields.items()}

    def _request(self, cell: Mapping[Path, Any], several: Sequence[Path]) -> RunRequest:
        try:
            return RunRequest(
                analysis=cell["analysis",],
                model=cell["model",],
                recipe={path[1]: value for path, value in cell.items() if path[0] == "recipe"},
                parameters={
                    path[1]: value for path, value in cell.items() if path[0] == "parameters"
                },
                seed=cell["seed",],
                priority=self.priority,
                study=self.study,
                force=self.force,
            )
        except (Refused, InvalidRequest) as error:
            name = options.cell({path: cell[path] for path in several})
            raise InvalidRequest(f"{name}: {error}" if name else str(error)) from error


def check_count(count: int) -> None:
    """Raises `TooManyCells` if `count` exceeds `MOST_CELLS`."""
    if count > MOST_CELLS:
        raise TooManyCells(count)


def _values(path: Path, given: Any) -> list[Any]:
    """The distinct values of a field. Raises `NoValues` for an empty list."""
    values = given if isinstance(given, (list, tuple)) else [given]
    if not values:
        raise NoValues(path)
    return list({json.dumps(value, default=str): value for value in values}.values())
