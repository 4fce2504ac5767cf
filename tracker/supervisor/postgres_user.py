"""The user that root runs Postgres as: a uid of its own, unused by any process or file.

With a user shared by many services, such as `nobody`, each of them could read the data.
"""

import grp
import os
import pwd
from pathlib import Path

import psutil

from tracker.home.home import Home
from tracker.supervisor import folders
from tracker.supervisor.errors import NoOrdinaryUser
from tracker.supervisor.process import Owner, can_run

NUMBERS = range(60_706, 61_184)  # which systems do not assign to users, services or containers
SHARED = "nobody"


def named(name: str) -> Owner:
    """The user with that name; raises `NoOrdinaryUser`."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise NoOrdinaryUser(name, "there is no such user") from None
    owner = Owner(user.pw_uid, user.pw_gid, name)
    if owner.uid == 0:
        raise NoOrdinaryUser(name, "that is root")
    if not can_run(("/bin/sh", "-c", ":"), owner):
        raise NoOrdinaryUser(name, "this process may not change its user")
    return owner


def of_cluster(home: Home, data: Path) -> Owner:
    """The owner of an existing cluster, unless that user is shared; else a free uid."""
    uid = data.lstat().st_uid if data.exists() else 0
    gid = data.lstat().st_gid if uid else 0
    if uid in NUMBERS and gid == uid and _is_free(uid):
        return Owner(uid, gid, str(uid))
    if uid == 0 or uid in NUMBERS or uid == named(SHARED).uid:
        return _unused(home)
    return Owner(uid, gid, _name(uid))


def who_makes(owner: Owner) -> Owner:
    """The user that `initdb` runs as: it requires a named one. Its files are handed over after.

    Its group keeps other processes of that user from the files and from the process itself.
    """
    if owner.uid not in NUMBERS:
        return owner
    return Owner(named(SHARED).uid, owner.gid, SHARED)


def hand_over(folder: Path, owner: Owner) -> None:
    """Change the owner of all files in a folder, the folder itself last, so it can be resumed.

    Links are not followed, and files that belong to neither Postgres nor `nobody` are left.
    """
    if folder.lstat().st_uid == owner.uid and folder.lstat().st_gid == owner.gid:
        return
    before = {folder.lstat().st_uid, named(SHARED).uid, *NUMBERS} - {0}
    for _, inner, files, at in os.fwalk(folder, topdown=False):
        for name in (*inner, *files):
            if os.stat(name, dir_fd=at, follow_symlinks=False).st_uid in before:
                os.chown(name, owner.uid, owner.gid, dir_fd=at, follow_symlinks=False)
    os.chown(folder, owner.uid, owner.gid, follow_symlinks=False)


def _unused(home: Home) -> Owner:
    named(SHARED)  # raises if this process cannot change its user at all
    running = {uid for process in psutil.process_iter() for uid in _ids(process)}
    start = int(folders.digest(home.root), 16)
    for step in range(len(NUMBERS)):
        number = NUMBERS[(start + step) % len(NUMBERS)]
        if number not in running and _is_free(number):
            return Owner(number, number, str(number))
    raise NoOrdinaryUser(f"{NUMBERS.start} to {NUMBERS.stop - 1}", "all are in use")


def _is_free(number: int) -> bool:
    """Whether no user and no group has this id."""
    for find in (pwd.getpwuid, grp.getgrgid):
        try:
            find(number)
        except KeyError:
            continue
        return False
    return True


def _ids(process: psutil.Process) -> set[int]:
    try:
        return {*process.uids(), *process.gids()}
    except psutil.Error:
        return set()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
