"""Opens files safely: only regular files are read, and no more bytes than allowed."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from analyses import bounds
from analyses.errors import Refused

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegular(Refused):
    def __init__(self, path: object, mode: int) -> None:
        super().__init__(
            f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a special file')}, and only regular files "
            f"are read. Put a regular file in its place."
        )


class ChangedWhileRead(Refused):
    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path} was changed while it was read, or is longer than its reported size. Try again "
            f"when nothing writes to it, or use a copy."
        )


def opened(path: Path) -> BinaryIO:
    """Open a file for reading, following links; never blocks. Raises `NotRegular`."""
    check(path)  # a device may do something when it is opened
    file = os.fdopen(descriptor(path.resolve()), "rb")
    try:
        check_mode(path, os.fstat(file.fileno()).st_mode)
    except NotRegular:
        file.close()
        raise
    return file


def descriptor(path: Path) -> int:
    """A file descriptor for reading; follows no link and does not block on a pipe."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(path, flags)


def check(path: Path) -> None:
    """Raises `NotRegular`, or `FileNotFoundError` if there is no such file."""
    check_mode(path, path.stat().st_mode)


def check_mode(path: object, mode: int) -> None:
    """Raises `NotRegular` unless `mode` is that of a regular file."""
    if not stat.S_ISREG(mode):
        raise NotRegular(path, mode)


def content(path: Path, *, most: int) -> bytes:
    """All bytes of a file. Raises `TooMuch`, without reading more, if it has more than `most`."""
    with opened(path) as file:
        bounds.check(path, "its size in bytes", size_of(file), most)
        data = file.read(most + 1)
    bounds.check(path, "its size in bytes", len(data), most)
    return data


def size_of(file: BinaryIO) -> int:
    """The size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def identity(path: Path, file: BinaryIO) -> str:
    """A key that changes whenever the file is replaced or written to.

    Its modification time can be set back, but not its inode change time. The file must be open,
    because a network file system may otherwise return cached times.
    """
    status = os.fstat(file.fileno())
    parts = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return f"{path.resolve()}\n{':'.join(map(str, parts))}"
