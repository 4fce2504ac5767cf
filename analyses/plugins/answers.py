"""What the functions of a plugin's analysis give back, checked before it is used."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from itertools import islice
from numbers import Real
from typing import TYPE_CHECKING, Any

from analyses.errors import Refused
from analyses.pictures.plots import Plot, loaded
from analyses.plugins import process_state, time_limit
from analyses.plugins.found import LONGEST, plain
from analyses.quantities import Quantity
from analyses.results import Component, Derived, Measured, NamedTensor, Resampled, ScoreKey

if TYPE_CHECKING:
    from analyses.bootstrap import Draws

MOST_SCORES = 500_000  # of a run
MOST_TENSORS = 1000
MOST_WARNINGS = 100
LONGEST_WARNING = 2000  # characters
PICTURE_SECONDS = 120.0

Function = Callable[..., Any]

_FORMULA = ("=", "+", "-", "@")  # with these a spreadsheet begins to calculate


class BadAnswer(Refused):
    def __init__(self, of: str, problem: str) -> None:
        super().__init__(f"{of} of the analysis gave {problem}.")


@contextmanager
def called() -> Iterator[None]:
    """Inside the block code of others runs: the process stays, and is as it was after it.

    Unless somebody else ends it: who works on the run then takes it up again.
    """
    try:
        with process_state.kept():
            yield
    except Exception:
        raise
    except BaseException as error:
        if _told_to_end():
            raise
        raise time_limit.Ended(error) from error


def _told_to_end() -> bool:
    """Whether a signal has ended this process of a worker, for which the pool raises SystemExit."""
    pool = sys.modules.get("billiard.common")
    return pool is not None and bool(pool.terminate_handler_fired())


def measuring(function: Function) -> Function:
    @wraps(function)
    def measure(*given: Any, **inputs: Any) -> Measured:
        with called():
            found: Measured = function(*given, **inputs)
        _check_kind("The function", found, Measured)
        _check_keys("The function", found.scores)
        _check_tensors("The function", found.tensors)
        return found

    return measure


def summarising(function: Function) -> Function:
    @wraps(function)
    def summarise(means: Mapping[ScoreKey, float], params: Any) -> Mapping[ScoreKey, float]:
        with called():
            return _numbers("`summarise`", function(means, params))

    return summarise


def ratios(function: Function) -> Function:
    @wraps(function)
    def give(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
        with called():
            found = _mapping("`ratios`", function(keys))
        known = set(keys)
        for key, of in found.items():
            if not (isinstance(of, tuple) and len(of) == 2 and known.issuperset(of)):
                raise BadAnswer(
                    "`ratios`",
                    f"{plain(repr(of))} for {key.quantity.metric!r}, not two of the run's scores",
                )
        return found

    return give


def deriving(function: Function) -> Function:
    @wraps(function)
    def derive(measured: Measured, params: Any) -> Derived:
        with called():
            found: Derived = function(measured, params)
        _check_kind("`derive`", found, Derived)
        _check_tensors("`derive`", found.tensors)

        def resampled(draws: "Draws") -> list[Resampled]:
            with called():
                return list(islice(found.resampled(draws), MOST_SCORES))

        return replace(found, numbers=_numbers("`derive`", found.numbers), resampled=resampled)

    return derive


def warning(function: Function) -> Function:
    @wraps(function)
    def warns(means: Mapping[ScoreKey, float], params: Any) -> Sequence[str]:
        with called():
            found = function(means, params)
            _check_kind("`warns`", found, Iterable)
            if isinstance(found, str):
                raise BadAnswer("`warns`", "a text, not a list of them")
            sentences = list(islice(found, MOST_WARNINGS + 1))
        if len(sentences) > MOST_WARNINGS:
            raise BadAnswer("`warns`", f"more than {MOST_WARNINGS} warnings")
        for each in sentences:
            _check_kind("`warns`", each, str)
        return [plain(each, LONGEST_WARNING) for each in sentences]

    return warns


def drawing(plot: Plot | str) -> Plot:
    """The picture's function, found when it is first called, and given up when it takes long."""

    def draw(found: Any) -> Any:
        with called():
            return time_limit.within(PICTURE_SECONDS, lambda: loaded(plot)(found))

    return draw


def _numbers(of: str, given: object) -> dict[ScoreKey, float]:
    found = _mapping(of, given)
    for key, value in found.items():
        if not isinstance(value, Real):
            raise BadAnswer(
                of, f"{plain(repr(value))} as the {key.quantity.metric!r}, which is no number"
            )
    return {key: float(value) for key, value in found.items()}


def _mapping(of: str, given: object) -> dict[ScoreKey, Any]:
    _check_kind(of, given, Mapping)
    assert isinstance(given, Mapping)
    _check_keys(of, given)
    return dict(given)


def _check_kind(of: str, given: object, wanted: type) -> None:
    if not isinstance(given, wanted):
        raise BadAnswer(of, f"a {type(given).__name__}, not a {wanted.__name__}")


def _check_keys(of: str, given: Iterable[object]) -> None:
    _check_kind(of, given, Mapping)
    for number, key in enumerate(given):
        if number >= MOST_SCORES:
            raise BadAnswer(of, f"more than {MOST_SCORES} scores")
        if not (
            isinstance(key, ScoreKey)
            and isinstance(key.component, Component)
            and isinstance(key.quantity, Quantity)
        ):
            raise BadAnswer(of, f"a score under {plain(repr(key))}, which is no ScoreKey")
        for name in (key.quantity.metric, key.quantity.site, key.quantity.condition):
            _check_name(of, "score", name)
        where = (key.component.layer, key.component.index)
        if not all(type(each) is int and -1 <= each < 2**15 for each in where):
            raise BadAnswer(of, f"a score of the layer and index {plain(where)}")
        if not isinstance(key.x, Real) or not abs(float(key.x)) < float("inf"):
            raise BadAnswer(of, f"a score at x = {plain(repr(key.x))}")


def _check_tensors(of: str, given: object) -> None:
    _check_kind(of, given, Mapping)
    assert isinstance(given, Mapping)
    for number, (name, tensor) in enumerate(given.items()):
        if number >= MOST_TENSORS:
            raise BadAnswer(of, f"more than {MOST_TENSORS} tensors")
        _check_name(of, "tensor", name)
        _check_kind(of, tensor, NamedTensor)


def _check_name(of: str, what: str, name: object) -> None:
    printable = isinstance(name, str) and len(name) <= LONGEST and name.isprintable()
    if not printable or str(name).startswith(_FORMULA):
        raise BadAnswer(
            of,
            f"a {what} with {plain(repr(name), 80)} in its name: up to {LONGEST} characters that "
            f"can be printed, the first none of {' '.join(_FORMULA)}",
        )
