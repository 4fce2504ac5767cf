"""Private folders, and short ones for sockets. Folders made by other users are refused."""

import hashlib
import os
import re
import shutil
import stat
from pathlib import Path

from tracker.home import ownership
from tracker.home.ownership import NotOurs
from tracker.supervisor.errors import NoShortFolder
from tracker.supervisor.process import Owner

SOCKET_BYTES = 107  # bytes of sun_path, without the final NUL
PLAIN = re.compile(r"[A-Za-z0-9/._-]+")  # needs no quoting in a URL or in Postgres' own lists


def private(folder: Path, *, mode: int = 0o700, owner: Owner | None = None) -> Path:
    """Create the folder, or check that the existing one is a real folder owned by us."""
    try:
        folder.mkdir(mode=mode)
        if owner:
            os.chown(folder, owner.uid, owner.gid)
    except FileExistsError:
        check_ours(folder, uid=owner.uid if owner else os.geteuid())
    folder.chmod(mode)
    return folder


def check_ours(folder: Path, *, uid: int) -> None:
    """Raises `NotOurs` for a link, another user's folder, or one that others may write to."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotOurs(folder, "it is a link or a file, not a folder. Move it away")
    if found.st_uid != uid:
        whose = ownership.described(folder)
        raise NotOurs(folder, f"{whose}. Run the command as {ownership.name_of(found.st_uid)}")
    if ownership.others_write(folder, found):
        mode = stat.S_IMODE(found.st_mode)
        reason = f"others may write there (mode {mode:04o}). Forbid it with `chmod go-w {folder}`"
        raise NotOurs(folder, reason)


def for_socket(preferred: Path, name: str, *, owner: Owner | None = None) -> Path:
    """A folder for the socket `name`: the preferred one, or a short one below /tmp in its place."""
    if _fits(preferred / name):
        return private(preferred, owner=owner)
    for parent in (Path("/tmp"), Path("/var/tmp")):
        outer = parent / f"headbook-{os.geteuid()}-{digest(preferred)}"
        try:
            ownership.real_place(outer)
            return private(private(outer, mode=0o711 if owner else 0o700) / "s", owner=owner)
        except (NotOurs, OSError):
            continue
    raise NoShortFolder(preferred)


def tidy(folder: Path) -> None:
    """Remove the short folder below /tmp of a server that has stopped."""
    if folder.name == "s" and folder.parent.name.startswith("headbook-"):
        shutil.rmtree(folder.parent, ignore_errors=True)


def digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= SOCKET_BYTES and bool(PLAIN.fullmatch(str(socket)))
