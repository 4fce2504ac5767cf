"""Files of one user: read where this user may, told from absent ones where not, and whose they are.

A file that may not be seen is never taken for one that is not there.
"""

import os
import pwd
import stat
from pathlib import Path

from tracker.errors import TrackerError


class NotReadable(TrackerError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} may not be used by {name_of(os.geteuid())}: {whose(path)}. Run the command as "
            "its owner, or use a folder of your own: HEADBOOK_HOME names that of a stack."
        )


class BelongsToAnother(TrackerError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"A stack of another user has run here: {described(path)}, and this is "
            f"{name_of(os.geteuid())}. Nothing was touched. Run the command as its owner, or name "
            "a folder of your own with HEADBOOK_HOME."
        )


def read_text(path: Path) -> str | None:
    """The text of a file, None where there is none; raises `NotReadable`."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise NotReadable(path) from None


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


def check_owner(path: Path) -> None:
    """Raise `BelongsToAnother` where it is there, and not our own."""
    if exists(path) and path.lstat().st_uid != os.geteuid():
        raise BelongsToAnother(path)


def whose(path: Path) -> str:
    """Whose the path is, or the folder above it that keeps us from it, and with what mode."""
    seen = [each for each in (path, *path.parents) if _seen(each)]
    shut = [each for each in seen if not _open(each)]
    return described((shut or seen)[0])


def described(path: Path) -> str:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    kind = "folder" if stat.S_ISDIR(found.st_mode) else "file"
    return f"the {kind} {path} belongs to {name_of(found.st_uid)} (mode {mode:04o})"


def name_of(uid: int) -> str:
    """The user's name, or its number where it has none here."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _open(path: Path) -> bool:
    wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids)


def _seen(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
