"""Checks what the functions of a plugin's analysis return before it is used."""

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
from analyses.plugins.discovery import LONGEST, plain
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

_FORMULA = ("=", "+", "-", "@")  # a spreadsheet takes a cell that starts with these for a formula


class BadAnswer(Refused):
    def __init__(self, of: str, problem: str) -> None:
        super().__init__(f"{of} of the analysis returned {problem}.")


@contextmanager
def called() -> Iterator[None]:
    """Run plugin code in the block: it cannot end the process, whose state is restored afterwards.

    A signal that ends this worker process still does; the run is then claimed again.
    """
    try:
        with process_state.kept():
            yield
    except Exception:
        raise
    except BaseException as error:
        if _terminating():
            raise
        raise time_limit.Ended(error) from error


def _terminating() -> bool:
    """Whether a signal terminates this worker process; its pool then raises SystemExit."""
    pool = sys.modules.get("billiard.common")
    return pool is not None and bool(pool.terminate_handler_fired())


def measuring(function: Function) -> Function:
    @wraps(function)
    def measure(*args: Any, **inputs: Any) -> Measured:
        with called():
            measured: Measured = function(*args, **inputs)
        _check_kind("The function", measured, Measured)
        _check_keys("The function", measured.scores)
        _check_tensors("The function", measured.tensors)
        return measured

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
            pairs = _mapping("`ratios`", function(keys))
        known = set(keys)
        for key, pair in pairs.items():
            if not (isinstance(pair, tuple) and len(pair) == 2 and known.issuperset(pair)):
                raise BadAnswer(
                    "`ratios`",
                    f"{plain(repr(pair))} for {key.quantity.metric!r}, not two of the run's scores",
                )
        return pairs

    return give


def deriving(function: Function) -> Function:
    @wraps(function)
    def derive(measured: Measured, params: Any) -> Derived:
        with called():
            derived: Derived = function(measured, params)
        _check_kind("`derive`", derived, Derived)
        _check_tensors("`derive`", derived.tensors)

        def resampled(draws: "Draws") -> list[Resampled]:
            with called():
                return list(islice(derived.resampled(draws), MOST_SCORES))

        return replace(derived, numbers=_numbers("`derive`", derived.numbers), resampled=resampled)

    return derive


def warning(function: Function) -> Function:
    @wraps(function)
    def warns(means: Mapping[ScoreKey, float], params: Any) -> Sequence[str]:
        with called():
            warnings = function(means, params)
            _check_kind("`warns`", warnings, Iterable)
            if isinstance(warnings, str):
                raise BadAnswer("`warns`", "a str, not a list of them")
            sentences = list(islice(warnings, MOST_WARNINGS + 1))
        if len(sentences) > MOST_WARNINGS:
            raise BadAnswer("`warns`", f"more than {MOST_WARNINGS} warnings")
        for sentence in sentences:
            _check_kind("`warns`", sentence, str)
        return [plain(sentence, LONGEST_WARNING) for sentence in sentences]

    return warns


def drawing(plot: Plot | str) -> Plot:
    """The picture's function, imported when first called, with a limit of `PICTURE_SECONDS`."""

    def draw(found: Any) -> Any:
        with called():
            return time_limit.within(PICTURE_SECONDS, lambda: loaded(plot)(found))

    return draw


def _numbers(of: str, answer: object) -> dict[ScoreKey, float]:
    values = _mapping(of, answer)
    for key, value in values.items():
        if not isinstance(value, Real):
            raise BadAnswer(
                of, f"{plain(repr(value))} as the {key.quantity.metric!r}, which is not a number"
            )
    return {key: float(value) for key, value in values.items()}


def _mapping(of: str, answer: object) -> dict[ScoreKey, Any]:
    _check_kind(of, answer, Mapping)
    assert isinstance(answer, Mapping)
    _check_keys(of, answer)
    return dict(answer)


def _check_kind(of: str, answer: object, expected: type) -> None:
    if not isinstance(answer, expected):
        raise BadAnswer(of, f"a {type(answer).__name__}, not a {expected.__name__}")


def _check_keys(of: str, scores: Iterable[object]) -> None:
    _check_kind(of, scores, Mapping)
    for number, key in enumerate(scores):
        if number >= MOST_SCORES:
            raise BadAnswer(of, f"more than {MOST_SCORES} scores")
        if not (
            isinstance(key, ScoreKey)
            and isinstance(key.component, Component)
            and isinstance(key.quantity, Quantity)
        ):
            raise BadAnswer(of, f"a score under {plain(repr(key))}, which is not a ScoreKey")
        for name in (key.quantity.metric, key.quantity.site, key.quantity.condition):
            _check_name(of, "score", name)
        where = (key.component.layer, key.component.index)
        if not all(type(each) is int and -1 <= each < 2**15 for each in where):
            raise BadAnswer(of, f"a score with the invalid layer and index {plain(where)}")
        if not isinstance(key.x, Real) or not abs(float(key.x)) < float("inf"):
            raise BadAnswer(of, f"a score at x = {plain(repr(key.x))}")


def _check_tensors(of: str, tensors: object) -> None:
    _check_kind(of, tensors, Mapping)
    assert isinstance(tensors, Mapping)
    for number, (name, tensor) in enumerate(tensors.items()):
        if number >= MOST_TENSORS:
            raise BadAnswer(of, f"more than {MOST_TENSORS} tensors")
        _check_name(of, "tensor", name)
        _check_kind(of, tensor, NamedTensor)


def _check_name(of: str, what: str, name: object) -> None:
    printable = isinstance(name, str) and len(name) <= LONGEST and name.isprintable()
    if not printable or str(name).startswith(_FORMULA):
        raise BadAnswer(
            of,
            f"a {what} with {plain(repr(name), 80)} in its name, which may have up to {LONGEST} "
            f"printable characters and not start with {' '.join(_FORMULA)}",
        )
