"""A pause after a failed request to MLflow, so that a worker spends most of its time on runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tracker.publishing.mlflow_errors import MlflowUnavailable

_TIMES = 2.0  # as long as the failed request took


class MlflowPaused(MlflowUnavailable):
    """MLflow did not answer a moment ago, and the next request is not due yet."""

    def __init__(self) -> None:
        super().__init__(TimeoutError("it did not answer a moment ago"))


class MlflowPause:
    """Lets one request at a time find out whether MLflow is back, however many runs are waiting.

    A request blocks its worker for up to half a minute while MLflow does not answer.
    """

    def __init__(self) -> None:
        self._until = 0.0  # monotonic

    def end(self) -> None:
        self._until = 0.0

    @contextmanager
    def after_failure(self) -> Iterator[None]:
        """Make requests inside the block; raises `MlflowPaused` at once during a pause.

        A block that raises `MlflowUnavailable` starts a pause.
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
