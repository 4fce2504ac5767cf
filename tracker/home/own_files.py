"""Files of one user: read where they are this user's own, told from absent ones, and written anew.

A file that may not be seen is never taken for one that is not there, and no link, pipe or second
name of another file for a file of ours.
"""

import errno
import os
import stat
from pathlib import Path

from tracker.home.ownership import NotOurs, NotReadable, described, others_write, trusted

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is opened without waiting for it


def opened(path: Path, flags: int = os.O_RDONLY, *, of: set[int] | None = None) -> int:
    """A descriptor of a regular file, ours or that of a user in `of`; the caller closes it.

    Raises `NotOurs`, and `OSError` as `os.open` does.
    """
    try:
        file = os.open(path, flags | _SAFELY, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotOurs(path, f"{described(path)}, and is no plain file. Move it away") from None
        raise
    try:
        _check(path, os.fstat(file), of or trusted())
    except BaseException:
        os.close(file)
        raise
    return file


def read_text(path: Path) -> str | None:
    """The text of a file, None where there is none; raises `NotReadable`, `NotOurs`."""
    try:
        file = opened(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise NotReadable(path) from None
    with os.fdopen(file, encoding="utf-8") as text:
        return text.read()


def write_text(path: Path, text: str) -> None:
    """Replace the file at once, readable by its owner only, and on disk before it has its name."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    draft.replace(path)


def exists(path: Path) -> bool:
    """Whether something is there, a link that leads nowhere included; raises `NotReadable`."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise NotReadable(path) from None
    return True


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, nothing where there is none; raises `NotReadable`."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        raise NotReadable(folder) from None


def make_folders(folder: Path, *, mode: int = 0o700) -> None:
    """Make the folder and those above it that are missing, writable by their owner only."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=mode if each == folder else 0o755, exist_ok=True)


def check_entry(path: Path, *, reachable: bool) -> None:
    """Raise `NotOurs` for an entry of another user, and for one that others may write to.

    What others cannot reach may have any mode.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if found.st_uid not in trusted():
        raise NotOurs(path, f"{described(path)}. Move it away")
    if reachable and not stat.S_ISLNK(found.st_mode) and others_write(path, found):
        raise NotOurs(path, f"{described(path)}. Forbid it with `chmod go-w {path}`")


def _check(path: Path, found: os.stat_result, owners: set[int]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotOurs(path, f"{described(path)}, and is no plain file. Move it away")
    if found.st_uid not in owners:
        raise NotOurs(path, f"{described(path)}. Move it away")
    if found.st_nlink > 1:
        raise NotOurs(path, "it has a second name somewhere (a hard link). Make a copy of it")
