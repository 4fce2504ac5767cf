"""A grid: requests for every combination of the values of some fields."""

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

VARIED = ("analysis", "model", "seed")  # beside each field of the recipe and each parameter
MOST_CELLS = 1000
MOST_COUNTED = 10**15  # what is beyond is no number that anybody reads


class TooManyCells(TrackerError):
    def __init__(self, count: int) -> None:
        counted = str(count) if count < MOST_COUNTED else "very many"
        super().__init__(
            f"This makes {counted} runs, and at most {MOST_CELLS} are queued at once. Queue them "
            "in several commands or files, in one study if you like."
        )


class NoValues(InvalidRequest):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The grid has a list without values for {'.'.join(path)}. Write at least one; a value "
            "that is an empty list itself is written [[]]."
        )


class Grid(Asked):
    """A request for every combination of values: a list holds the values that a field takes.

    `analysis`, `model`, `seed`, each field of `recipe` and each of `parameters` may be a list. A
    value that is a list itself is written inside another: `{"layers": [[0, 1]]}` is one value.

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
        """The requests, the last field varying fastest; raises `InvalidRequest`, `TooManyCells`."""
        check_count(self.count)
        axes = self._axes()
        several = [path for path, values in axes.items() if len(values) > 1]
        cells = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
        return tuple(self._request(cell, several) for cell in cells)

    @property
    def count(self) -> int:
        """How many requests there are; raises `NoValues`."""
        return math.prod(map(len, self._axes().values()))

    def _axes(self) -> dict[Path, list[Any]]:
        given: dict[Path, Any] = {
            ("analysis",): self.analysis,
            ("model",): self.model,
            **{("recipe", field): given for field, given in self.recipe.items()},
            ("seed",): self.seed,
            **{("parameters", name): given for name, given in self.parameters.items()},
        }
        return {path: _values(path, each) for path, each in given.items()}

    def _request(self, cell: Mapping[Path, Any], several: Sequence[Path]) -> RunRequest:
        try:
            return RunRequest(
                analysis=cell["analysis",],
                model=cell["model",],
                recipe={path[1]: value for path, value in cell.items() if path[0] == "recipe"},
                parameters={
                    path[1]: each for path, each in cell.items() if path[0] == "parameters"
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
    """Raises `TooManyCells`."""
    if count > MOST_CELLS:
        raise TooManyCells(count)


def _values(path: Path, given: Any) -> list[Any]:
    """The values of a field, each once; raises `NoValues`."""
    values = given if isinstance(given, (list, tuple)) else [given]
    if not values:
        raise NoValues(path)
    return list({json.dumps(each, default=str): each for each in values}.values())
