"""What MLflow's errors mean: their codes, not their texts, decide whether a retry may help."""

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
_LATER = (408, 425, 429)  # request timeout, too early, too many requests
_NOT_FOUND = 404  # MLflow adds an error code of its own; without one, something else answered


class MlflowUnavailable(TrackerError):
    """MLflow does not answer; the request can be repeated later."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"MLflow request failed: {first_line(error).rstrip('.')}; it will be retried. "
            f"{self.way_out}"
        )

    way_out = "Is the server at MLFLOW_TRACKING_URI running?"


class MlflowLoginRefused(MlflowUnavailable):
    """MLflow answers and rejects the login: a client with the right one will succeed."""

    way_out = (
        "The login was rejected: check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "the name and password in MLFLOW_TRACKING_URI."
    )


class GoneFromMlflow(MlflowUnavailable):
    """A run or experiment does not exist in MLflow: it was deleted for good, or never created."""

    way_out = "What was deleted there is created again."


class RefusedByMlflow(TrackerError):
    """MLflow rejects the request, and a retry would be rejected as well."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"MLflow rejected the request: {first_line(error).rstrip('.')}. A retry will not help "
            "until this is fixed. Then publish a run that has ended with `headbook publish RUN`, "
            "and queue one that failed again with --force."
        )


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of this module in place of MLflow's.

    Raises `CannotKeep` if a temporary file cannot be written because the disk is full.
    """
    try:
        yield
    except (MlflowException, RequestException, OSError) as error:
        raise _meant(error) from error


def is_gone(error: Exception) -> bool:
    """Whether MLflow says that what was asked for does not exist."""
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
    """The HTTP status; 0 if there was no response."""
    if isinstance(error, MlflowException):
        return int(ERROR_CODE_TO_HTTP_STATUS.get(error.error_code, 500))
    response = getattr(error, "response", None)
    return 0 if response is None else int(response.status_code)
