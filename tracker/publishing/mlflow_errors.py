"""What MLflow's errors mean: codes decide whether trying again may help, not sentences."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from requests.exceptions import RequestException

from tracker.errors import TrackerError
from tracker.home.disk import is_full
from tracker.publishing.spool import CannotKeep
from tracker.secrets.urls import first_line

_LOGIN = (401, 403)
_LATER = (408, 425, 429)  # it took too long, came too early, too often
_NOT_FOUND = 404  # of a run it comes with a code of MLflow's own; else no MLflow answered


class MlflowUnavailable(TrackerError):
    """MLflow does not answer; what was to be stored or read there can be later."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"MLflow could not do it: {first_line(error).rstrip('.')}. Nothing is lost, it is "
            f"tried again. "
            f"{self.way_out}"
        )

    way_out = "Is the server of MLFLOW_TRACKING_URI up?"


class MlflowLoginRefused(MlflowUnavailable):
    """It answers, and wants another login: whoever has the right one can do it."""

    way_out = (
        "It refuses the login: check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the "
        "name and password in MLFLOW_TRACKING_URI."
    )


class GoneFromMlflow(MlflowUnavailable):
    """A run or an experiment was deleted there, and collected, or was never there."""

    way_out = "What was deleted there is made again."


class RefusedByMlflow(TrackerError):
    """It says no, and will say so again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"MLflow refuses it: {first_line(error).rstrip('.')}. Trying again changes nothing "
            "before that is put right. `headbook publish RUN` shows a run there that has ended; "
            "one that failed is queued again with --force."
        )


@contextmanager
def translated() -> Iterator[None]:
    """Raises the errors of this module in place of MLflow's.

    `CannotKeep` is raised for a temporary file that this disk refuses.
    """
    try:
        yield
    except (MlflowException, RequestException, OSError) as error:
        raise _meant(error) from error


def is_gone(error: Exception) -> bool:
    """Whether MLflow says that it does not have what was named."""
    return bool(getattr(error, "error_code", None) == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST))


def _meant(error: Exception) -> TrackerError:
    if isinstance(error, OSError) and is_full(error):
        return CannotKeep(tempfile.gettempdir(), error)
    if is_gone(error):
        return GoneFromMlflow(error)
    status = _status(error)
    if status in _LOGIN:
        return MlflowLoginRefused(error)
    if 400 <= status < 500 and status not in (*_LATER, _NOT_FOUND):
        return RefusedByMlflow(error)
    return MlflowUnavailable(error)


def _status(error: Exception) -> int:
    """Of HTTP; 0 where no answer came."""
    if isinstance(error, MlflowException):
        return int(ERROR_CODE_TO_HTTP_STATUS.get(error.error_code, 500))
    response = getattr(error, "response", None)
    return 0 if response is None else int(response.status_code)
