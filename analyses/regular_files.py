"""Files opened so that nothing but a regular file is read, and no more than is due."""

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
            f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'no regular file')}, and only regular files "
            f"are read. Put a regular file in its place."
        )


class ChangedWhileRead(Refused):
    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path} was changed while it was read, or holds more than it says. Try again when "
            f"nothing writes to it, or take a copy."
        )


def opened(path: Path) -> BinaryIO:
    """The file to which the path leads, for reading; raises `NotRegular`, waits for no writer."""
    check(path)  # a device may do something when it is opened
    file = os.fdopen(descriptor(path.resolve()), "rb")
    try:
        check_mode(path, os.fstat(file.fileno()).st_mode)
    except NotRegular:
        file.close()
        raise
    return file


def descriptor(path: Path) -> int:
    """Open for reading; follows no link, and waits for nobody at the other end of a pipe."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(path, flags)


def check(path: Path) -> None:
    """Raises `NotRegular`, and `FileNotFoundError` where nothing is."""
    check_mode(path, path.stat().st_mode)


def check_mode(path: object, mode: int) -> None:
    """Raises `NotRegular`."""
    if not stat.S_ISREG(mode):
        raise NotRegular(path, mode)


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
