"""What the tracker refuses. Each message names the thing, the value and the way out."""

import errno

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class TrackerError(Exception):
    """Something a person can put right; the command line prints the message and exits with 1."""


class NoDatabase(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No database is known: DATABASE_URL is not set and no stack runs on {home}. "
            "Start one with `headbook up`, or set DATABASE_URL."
        )


class NoBroker(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No broker is known: CELERY_BROKER_URL is not set and no stack runs on {home}. "
            "Start one with `headbook up`, or set CELERY_BROKER_URL."
        )


class NoTrackingServer(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No MLflow server is known: MLFLOW_TRACKING_URI is not set and no stack runs on "
            f"{home}. Start one with `headbook up`, or set MLFLOW_TRACKING_URI."
        )


class CannotKeep(TrackerError):
    """A disk that tensors pass through is full or closed; what was to be stored can be later."""

    def __init__(self, folder: object, error: OSError, *, whose: str | None = None) -> None:
        """`whose` says to which other user the folder belongs."""
        way_out = "Run this worker as its owner" if whose else "Make room there"
        super().__init__(
            f"A tensor file cannot be kept in {folder}: {whose or error.strerror}. {way_out}, or "
            "let HEADBOOK_HOME and TMPDIR name other disks. Nothing is lost, it is tried again."
        )


class DiskFull(TrackerError):
    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"Nothing more can be written to {error.filename or 'the disk'}: {error.strerror}. "
            "Make room there, or let HEADBOOK_HOME and TMPDIR name other disks."
        )


def is_full(error: OSError) -> bool:
    """Whether it was a disk, a quota or a limit on files that a system call failed at."""
    return error.errno in _FULL
