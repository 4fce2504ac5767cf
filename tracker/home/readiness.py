"""How a long-running process tells whoever started it that it does its work.

Being alive for some seconds says little: one that fails at an import is alive for as long.
"""

import os
from pathlib import Path

import psutil

from tracker.errors import TrackerError
from tracker.home import own_files

VARIABLE = "HEADBOOK_READY_FILE"


def announce() -> bool:
    """Write who this process is into the file that its parent has named, if one has.

    False where it cannot be written: a full disk keeps nobody from working.
    """
    if file := os.environ.get(VARIABLE):
        try:
            own_files.write_text(Path(file), f"{os.getpid()} {psutil.Process().create_time()!r}")
        except OSError:
            return False
    return True


def announced(file: Path) -> bool:
    """Whether a living child of this process has said so; what a dead one said is nothing."""
    try:
        pid, started = (own_files.read_text(file) or "").split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 1.0
        return same and process.ppid() == os.getpid()
    except (OSError, ValueError, TrackerError, psutil.Error):
        return False
