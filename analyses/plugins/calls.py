"""Calls into plugin code while a person waits: with a time limit, and errors that name it."""

from collections.abc import Callable
from typing import TypeVar

from analyses.errors import Refused
from analyses.plugins import output, process_state, time_limit, trial
from analyses.plugins.discovery import plain

Value = TypeVar("Value")


class PluginFailed(Refused):
    def __init__(self, analysis: str, origin: str, error: Exception) -> None:
        what = error if isinstance(error, Refused) else f"raised {type(error).__name__}: {error}"
        super().__init__(
            f"The analysis {analysis!r} of the package {origin} {plain(what, 300)}. Fix or "
            "uninstall that package."
        )


def answer(analysis: str, origin: str, question: Callable[[], Value]) -> Value:
    """What `question` returns.

    Raises a `Refused` of the analysis unchanged, and `PluginFailed` for any other exception or if
    it takes too long.
    """
    try:
        with output.aside(), process_state.kept():
            return time_limit.within(trial.seconds(), question)
    except (time_limit.NoReturn, time_limit.Ended) as error:
        raise PluginFailed(analysis, origin, error) from error
    except Refused:
        raise
    except Exception as error:
        raise PluginFailed(analysis, origin, error) from error
