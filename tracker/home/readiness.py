"""How a long-running process tells its parent that it is ready.

Being alive for some seconds is not enough: a process that fails at an import is alive that long.
"""

import os
from pathlib import Path

import psutil

from tracker.errors import TrackerError
from tracker.home import own_files

VARIABLE = "HEADBOOK_READY_FILE"


def announce() -> bool:
    """Write this process's identity into the file named by its parent, if any.

    Returns False if it cannot be written: a full disk must not stop the process.
    """
    if file := os.environ.get(VARIABLE):
        try:
            own_files.write_text(Path(file), f"{os.getpid()} {psutil.Process().create_time()!r}")
        except OSError:
            return False
    return True


def announced(file: Path) -> bool:
    """Whether a running child of this process is ready; files of dead ones do not count."""
    try:
        pid, started = (own_files.read_text(file) or "").split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 1.0
        return same and process.ppid() == os.getpid()
    except (OSError, ValueError, TrackerError, psutil.Error):
        return False
