"""The files that people name in a recipe: found, below the roots where there are some, and read."""

import stat
from collections.abc import Sequence
from pathlib import Path

from analyses.errors import MayNotBeRead, Refused


class NoSuchFile(Refused):
    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"No {what} at {path}. Give the whole path of one that can be read here.")


class OutsideDataRoots(Refused):
    def __init__(self, path: Path, roots: Sequence[Path]) -> None:
        super().__init__(
            f"{path} does not lie below a data root. Files may be read from: "
            f"{', '.join(map(str, roots))}. Move it there."
        )


class NotUtf8(Refused):
    def __init__(self, path: Path, error: UnicodeDecodeError, *, line: int | None = None) -> None:
        where = f" in line {line}" if line else ""
        super().__init__(f"{path} is not UTF-8 text: {error.reason}{where}. Convert it.")


def existing(path: Path, *, roots: Sequence[Path] = (), folder: bool = False) -> Path:
    """The file or folder, links followed; no roots allow all. Raises a `Refused`."""
    what = "folder" if folder else "file"
    try:
        real = path.expanduser().resolve()
        mode = real.stat().st_mode
        there = stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)
    except PermissionError as error:
        raise MayNotBeRead(error, path) from None
    except (OSError, RuntimeError, ValueError):  # no such user, no such path
        raise NoSuchFile(path, what) from None
    if roots and not any(real.is_relative_to(root.resolve()) for root in roots):
        raise OutsideDataRoots(path, roots)
    if not there:
        raise NoSuchFile(path, what)
    return real


def read_text(path: Path, *, roots: Sequence[Path] = ()) -> str:
    """A text file; its newlines become \\n, so that they are the same on every platform."""
    try:
        return unix(existing(path, roots=roots).read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotUtf8(path, error) from None
    except PermissionError as error:
        raise MayNotBeRead(error, path) from None
    except OSError:
        raise NoSuchFile(path, "readable file") from None


def unix(text: str) -> str:
    """The text with \\n for every newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
