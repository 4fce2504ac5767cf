"""Reads and writes files that must be this user's own.

A file that cannot be read is never treated as missing, and no symbolic link, hard link or pipe as
a file of ours.
"""

import errno
import os
import stat
from pathlib import Path

from tracker.home.ownership import NotOurs, NotReadable, described, others_write, trusted

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # so that opening a pipe does not block


def opened(path: Path, flags: int = os.O_RDONLY, *, of: set[int] | None = None) -> int:
    """A descriptor of a regular file owned by us or a user in `of`; the caller closes it.

    Raises `NotOurs`, and `OSError` as `os.open` does.
    """
    try:
        file = os.open(path, flags | _SAFELY, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotOurs(
                path, f"{described(path)}, and is not a regular file. Move it away"
            ) from None
        raise
    try:
        _check(path, os.fstat(file), of or trusted())
    except BaseException:
        os.close(file)
        raise
    return file


def read_text(path: Path) -> str | None:
    """The text of a file, None if it does not exist; raises `NotReadable`, `NotOurs`."""
    try:
        file = opened(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise NotReadable(path) from None
    with os.fdopen(file, encoding="utf-8") as text:
        return text.read()


def write_text(path: Path, text: str) -> None:
    """Replace the file atomically, readable by its owner only, synced before it is renamed."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    draft.replace(path)


def exists(path: Path) -> bool:
    """Whether the path exists, dangling links included; raises `NotReadable`."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise NotReadable(path) from None
    return True


def entries(folder: Path) -> list[Path]:
    """The entries of a folder, none if it does not exist; raises `NotReadable`."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        raise NotReadable(folder) from None


def make_folders(folder: Path, *, mode: int = 0o700) -> None:
    """Create the folder and its missing parents, writable by their owner only."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=mode if each == folder else 0o755, exist_ok=True)


def check_entry(path: Path, *, reachable: bool) -> None:
    """Raises `NotOurs` for an entry of another user, or one that others may write to.

    In a folder that others cannot enter, any mode is fine.
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
        raise NotOurs(path, f"{described(path)}, and is not a regular file. Move it away")
    if found.st_uid not in owners:
        raise NotOurs(path, f"{described(path)}. Move it away")
    if found.st_nlink > 1:
        raise NotOurs(path, "it has another hard link. Replace it by a copy")
