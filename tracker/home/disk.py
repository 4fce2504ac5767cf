"""A disk that takes no more: how the system says so, and what to do then."""

import errno

from tracker.errors import TrackerError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskFull(TrackerError):
    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"Nothing more can be written to {error.filename or 'the disk'}: {error.strerror}. "
            "Make room there, or let HEADBOOK_HOME and TMPDIR name other disks."
        )


def is_full(error: OSError) -> bool:
    """Whether a system call failed because a disk, a quota or a limit on file sizes is reached."""
    return error.errno in _FULL
