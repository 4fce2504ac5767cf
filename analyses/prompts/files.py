"""Opens the files that a recipe names, which must be below the data roots, if any."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO

from analyses.errors import MayNotBeRead, Refused, shown
from analyses.prompts.bounds import Beyond
from analyses.regular_files import ChangedWhileRead, NotRegular, check_mode, descriptor


class NoSuchFile(Refused):
    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"No {what} at {named(path)}. Give the full path of one that exists on this machine."
        )


class OutsideDataRoots(Refused):
    def __init__(self, path: Path, roots: Sequence[Path]) -> None:
        super().__init__(
            f"{named(path)} is outside the data roots. Files may be read from: "
            f"{', '.join(map(str, roots))}. Move it there."
        )


class NotUtf8(Refused):
    def __init__(self, path: Path, error: UnicodeDecodeError, *, line: int | None = None) -> None:
        where = f" in line {line}" if line else ""
        super().__init__(f"{named(path)} is not UTF-8 text: {error.reason}{where}. Convert it.")


def named(path: Path) -> str:
    """The path as text, shortened if it is longer than the system's maximum."""
    return str(path) if len(str(path)) <= 4096 else shown(str(path))


def existing(path: Path, *, roots: Sequence[Path] = (), folder: bool = False) -> Path:
    """The real path of a file or folder, which must be below one of `roots`, if any.

    Raises `NoSuchFile`, `OutsideDataRoots`, `NotRegular` or `MayNotBeRead`.
    """
    what = "folder" if folder else "file"
    try:
        real = path.expanduser().resolve()
        mode = real.stat().st_mode
    except PermissionError as error:
        raise MayNotBeRead(error, path) from None
    except (OSError, RuntimeError, ValueError):  # no such user, no such path
        raise NoSuchFile(path, what) from None
    if roots and not any(real.is_relative_to(root.resolve()) for root in roots):
        raise OutsideDataRoots(path, roots)
    if not folder:
        check_mode(named(path), mode)
    elif not stat.S_ISDIR(mode):
        raise NoSuchFile(path, what)
    return real


@contextmanager
def opened(path: Path, *, most: int, roots: Sequence[Path] = ()) -> Iterator[BinaryIO]:
    """Open a regular file of at most `most` bytes. Raises a `Refused`.

    The path may be replaced at any time, so everything is checked on the open file. Raises
    `ChangedWhileRead` if the file has changed by the end of the block.
    """
    real = existing(path, roots=roots)
    try:
        number = descriptor(real)
    except PermissionError as error:
        raise MayNotBeRead(error, path) from None
    except OSError:
        raise NoSuchFile(path, "readable file") from None
    with _Measured(number, path) as raw, BufferedReader(raw, 2**16) as file:
        before = os.fstat(number)
        check_mode(named(path), before.st_mode)
        if before.st_size > most:
            raise Beyond(named(path), "bytes", most, before.st_size)
        raw.left = before.st_size
        yield file
        if _state(os.fstat(number)) != _state(before):
            raise ChangedWhileRead(named(path))


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns  # the last cannot be set back


class _Measured(FileIO):
    """A file that cannot be read beyond its initial size: it may grow, or be endless."""

    def __init__(self, number: int, path: Path) -> None:
        super().__init__(number, "rb")
        self.left = 0
        self._path = path

    def readinto(self, buffer: Any, /) -> int:
        """Raises `ChangedWhileRead` for bytes beyond the end."""
        count: int | None = super().readinto(buffer)
        if count is None:  # it would block until something is written
            raise NotRegular(named(self._path), os.fstat(self.fileno()).st_mode)
        if self.tell() > self.left:
            raise ChangedWhileRead(named(self._path))
        return count


def read_text(path: Path, *, most: int, roots: Sequence[Path] = ()) -> str:
    """A text file of at most `most` characters, with every newline as \\n. Raises a `Refused`."""
    try:
        with opened(path, most=4 * most, roots=roots) as file:  # no character has more bytes
            text = unix(file.read(4 * most).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotUtf8(path, error) from None
    except OSError:
        raise NoSuchFile(path, "readable file") from None
    except Beyond:
        raise Beyond(named(path), "source", most) from None
    if len(text) > most:
        raise Beyond(named(path), "source", most, len(text))
    return text


def unix(text: str) -> str:
    """The text with \\n for every newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
