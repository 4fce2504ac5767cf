"""A pause after MLflow did not answer, so that most of a worker's time is left for runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tracker.publishing.mlflow_errors import MlflowUnavailable

_TIMES = 2.0  # what a try has cost in vain


class MlflowPaused(MlflowUnavailable):
    """MLflow did not answer a moment ago, and is not asked again yet."""

    def __init__(self) -> None:
        super().__init__(TimeoutError("it did not answer a moment ago"))


class MlflowPause:
    """One try at a time, of all the runs that want something of MLflow, finds out if it is back.

    A try holds its worker for up to half a minute while MLflow does not answer.
    """

    def __init__(self) -> None:
        self._until = 0.0  # monotonic

    def end(self) -> None:
        self._until = 0.0

    @contextmanager
    def after_failure(self) -> Iterator[None]:
        """A try: one that raises `MlflowUnavailable` begins a pause, in which others raise at once.

        What they raise is `MlflowPaused`.
        """
        begun = time.monotonic()
        if begun < self._until:
            raise MlflowPaused
        try:
            yield
        except MlflowUnavailable:
            ended = time.monotonic()
            self._until = ended + _TIMES * (ended - begun)
            raise
