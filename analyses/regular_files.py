"""Files of a model, opened so that nothing but a regular file is read, and no more than is due."""

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


class NotAFile(Refused):
    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(
            f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'no regular file')}, and only regular files "
            f"are read. Put the model's own file in its place."
        )


class ChangedWhileRead(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} changed while it was read. Try again when nobody writes to it any more."
        )


def opened(path: Path) -> BinaryIO:
    """The file to which the path leads, for reading; raises `NotAFile`, waits for no writer."""
    check(path)  # a device may do something when it is opened
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    handle = os.open(path.resolve(), flags)
    file = os.fdopen(handle, "rb")
    try:
        _check(path, os.fstat(handle).st_mode)
    except NotAFile:
        file.close()
        raise
    return file


def check(path: Path) -> None:
    """Raises `NotAFile`, and `FileNotFoundError` where nothing is."""
    _check(path, path.stat().st_mode)


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFile(path, mode)


def content(path: Path, *, most: int) -> bytes:
    """All bytes of a file; raises `TooMuch` before it reads more than `most`."""
    with opened(path) as file:
        bounds.check(path, "its size in bytes", size_of(file), most)
        read = file.read(most + 1)
    bounds.check(path, "its size in bytes", len(read), most)
    return read


def size_of(file: BinaryIO) -> int:
    """In bytes."""
    return os.fstat(file.fileno()).st_size


def identity(path: Path, file: BinaryIO) -> str:
    """Another one whenever the file is another, or its bytes were written to.

    Whoever puts the time of its last change back cannot put back when its inode changed. Opening a
    file asks a network file system for its times, which it may otherwise remember.
    """
    found = os.fstat(file.fileno())
    seen = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return f"{path.resolve()}\n{':'.join(map(str, seen))}"
