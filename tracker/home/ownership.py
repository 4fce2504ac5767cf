"""Ownership of paths: whether another user could redirect one or change what it contains."""

import grp
import os
import pwd
import stat
from functools import cache
from pathlib import Path

from tracker.errors import TrackerError

_MOST_LINKS = 40  # as the kernel follows them


class NotReadable(TrackerError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"Permission denied for {name_of(os.geteuid())} on {path}: {whose(path)}. Run "
            "the command as its owner, or set HEADBOOK_HOME to a folder of your own."
        )


class BelongsToAnother(TrackerError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"This home belongs to another user: {described(path)}, and this is "
            f"{name_of(os.geteuid())}. Nothing was changed. Run the command as its owner, or "
            "set HEADBOOK_HOME to a folder of your own."
        )


class NotOurs(TrackerError):
    """A folder or file that another user may have created or changed, or a link to one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is not safe to use: {reason}, or choose another home with HEADBOOK_HOME. "
            "Nothing in it was changed."
        )


def check_own(folder: Path) -> None:
    """Check that only this user can write to the folder, if it exists.

    Raises `BelongsToAnother`, `NotOurs`, `NotReadable`. A link of this user's own is followed.
    """
    place = real_place(folder)
    found = _lstat(place)
    if found is None:
        return
    if found.st_uid != os.geteuid():
        raise BelongsToAnother(place)
    if stat.S_ISDIR(found.st_mode) and others_write(place, found):
        raise NotOurs(folder, f"{_open_to_others(place, found)}. Forbid it with {_shut(place)}")


def real_place(path: Path) -> Path:
    """The path with its links resolved; raises `NotOurs` if another user could redirect it.

    Another user could if they own a link or folder on the way, or may write to such a folder,
    unless it is sticky like /tmp. Parts that do not exist yet are left as they are.
    """
    here, links = Path("/"), 0
    left = list(reversed(path.absolute().parts[1:]))
    while left:
        if (name := left.pop()) == "..":
            here = here.parent
            continue
        step = here / name
        if (found := _lstat(step)) is None:
            return step.joinpath(*reversed(left))
        if not stat.S_ISLNK(found.st_mode):
            here = step
            if left:
                _check_above(path, step, found)
            continue
        links += 1
        if links > _MOST_LINKS or found.st_uid not in trusted():
            raise NotOurs(path, f"{described(step)} is a link. Remove it")
        target = Path(os.readlink(step))
        here = Path("/") if target.is_absolute() else here
        left.extend(part for part in reversed(target.parts) if part != "/")
    return here


def others_write(path: Path, found: os.stat_result) -> bool:
    """Whether any user other than this one and root may write to it."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private(path, found.st_gid)


def trusted() -> set[int]:
    """The users whose files are trusted: this one, and root, who may do anything anyway."""
    return {os.geteuid(), _root()}


def whose(path: Path) -> str:
    """The owner and mode of the path, or of the parent that denies us access to it."""
    seen = [each for each in (path, *path.parents) if _seen(each)]
    shut = [each for each in seen if not _open(each)]
    return described((shut or seen)[0])


def described(path: Path) -> str:
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    kinds = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "special file")
    return f"the {kind} {path} belongs to {name_of(found.st_uid)} (mode {mode:04o})"


def name_of(uid: int) -> str:
    """The user's name, or its uid if it has none."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _check_above(path: Path, folder: Path, found: os.stat_result) -> None:
    if found.st_uid not in trusted():
        said = f"{described(folder)}, who could replace it"
        raise NotOurs(path, f"{said}. Use a folder of your own")
    if others_write(folder, found) and not found.st_mode & stat.S_ISVTX:
        said = f"{_open_to_others(folder, found)}, and could replace it"
        raise NotOurs(path, f"{said}. Forbid it with {_shut(folder)}")


def _open_to_others(folder: Path, found: os.stat_result) -> str:
    return f"others may write to {folder} (mode {stat.S_IMODE(found.st_mode):04o})"


def _shut(folder: Path) -> str:
    return f"`chmod go-w {folder}`"


def _is_private(path: Path, gid: int) -> bool:
    """Whether a group is a user's private group and has no other members.

    A private group has its user's name. The members of other groups are unknown: a directory
    service need not list them.
    """
    if _has_list(path):
        return False
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return gid == os.getegid()  # in a container without names
    if name_of(os.geteuid()) != f"user {group.gr_name}" and group.gr_name != "root":
        return False
    in_it = {
        user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid or user.pw_name in group.gr_mem
    }
    return in_it <= trusted()


def _has_list(path: Path) -> bool:
    """Whether an access control list grants more than the mode."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except (OSError, AttributeError):  # none, or not supported
        return False


@cache
def _root() -> int:
    """The uid of root's files here: containers may map it to nobody."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
        if any(int(line.split()[0]) == 0 for line in lines):
            return 0
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError, IndexError):
        return 0


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise NotReadable(path) from None


def _open(path: Path) -> bool:
    wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids)


def _seen(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
