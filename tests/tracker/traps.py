"""Traps in which another local user catches commands: homes that they made or can change."""

import grp
import json
import os
import pwd
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import structlog
from second_user import OTHER, as_other, shared_folder

from tracker.secrets import redaction
from tracker.supervisor import passwords


@dataclass
class Trap:
    """Where the victim's home is looked for, a process of the victim's, and who listens."""

    folder: Path
    victim: subprocess.Popen[bytes]
    ear: socket.socket

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def fill(self, home: Path) -> None:
        """What a home of a running stack holds, with addresses of the attacker's."""
        port, me = self.ear.getsockname()[1], psutil.Process(self.victim.pid)
        url = f"postgresql+psycopg://w:x@127.0.0.1:{port}/h"
        state = {
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "database_url": url,
            "broker_url": f"redis://:x@127.0.0.1:{port}/0",
            "mlflow_tracking_uri": f"http://127.0.0.1:{port}",
            "app_url": f"http://127.0.0.1:{port}",
            "owner_url": url,
        }
        held = {"pid": me.pid, "started": me.create_time()}
        for name, content in {
            "state.json": state,
            "lock.json": held,
            "secrets.json": dict.fromkeys((*passwords.ROLES, "valkey"), "known-to-them"),
            "processes.json": {"state": "running", "components": []},
            "ports.json": {"app": port, "mlflow": port},
        }.items():
            (home / name).write_text(json.dumps(content))
            (home / name).chmod(0o644)


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(redaction, "_patterns", ())
    sleeper = subprocess.Popen(["sleep", "600"])
    with shared_folder() as folder, socket.create_server(("127.0.0.1", 0)) as ear:
        ear.setblocking(False)
        monkeypatch.setenv("HEADBOOK_HOME", str(folder / "home"))
        yield Trap(folder, sleeper, ear)
    sleeper.kill()
    sleeper.wait()
    structlog.reset_defaults()  # a command that was run here may have set it, on its own stdout


def give(path: Path) -> None:
    """The path and all below it become the other user's."""
    for each in (*path.rglob("*"), path):
        os.chown(each, OTHER.pw_uid, OTHER.pw_gid, follow_symlinks=False)


def a_whole_home(trap: Trap) -> None:
    trap.home.mkdir(mode=0o755)
    trap.fill(trap.home)
    give(trap.home)


def a_home_made_by_the_other_user(trap: Trap) -> None:
    trap.folder.chmod(0o1777)
    with as_other():
        trap.home.mkdir(mode=0o755)
        trap.fill(trap.home)


def an_empty_home(trap: Trap) -> None:
    trap.home.mkdir()
    give(trap.home)


def a_link_to_another_home(trap: Trap) -> None:
    (trap.folder / "theirs").mkdir()
    trap.fill(trap.folder / "theirs")
    trap.home.symlink_to("theirs")
    give(trap.folder / "theirs")
    give(trap.home)


def a_link_to_a_home_of_ours(trap: Trap) -> None:
    (trap.folder / "other-of-mine").mkdir(mode=0o700)
    trap.fill(trap.folder / "other-of-mine")
    trap.home.symlink_to("other-of-mine")
    os.chown(trap.home, OTHER.pw_uid, OTHER.pw_gid, follow_symlinks=False)


def our_link_to_theirs(trap: Trap) -> None:
    (trap.folder / "theirs").mkdir()
    trap.fill(trap.folder / "theirs")
    give(trap.folder / "theirs")
    trap.home.symlink_to("theirs")


def ours(trap: Trap, mode: int = 0o711) -> Path:
    trap.home.mkdir(mode=0o700)
    trap.home.chmod(mode)
    trap.fill(trap.home)
    return trap.home


def a_home_open_to_all(trap: Trap) -> None:
    ours(trap, 0o777)


def a_home_in_a_sticky_mode(trap: Trap) -> None:
    ours(trap, 0o1777)


def a_home_open_to_a_group(trap: Trap) -> None:
    os.chown(ours(trap, 0o775), 0, OTHER.pw_gid)


def a_home_open_to_a_group_that_names_nobody(trap: Trap) -> None:
    """Who is in it stands in a directory of the network, which need not list its users."""
    had = {user.pw_gid for user in pwd.getpwall()}
    empty = (each.gr_gid for each in grp.getgrall() if not each.gr_mem and each.gr_gid not in had)
    if (gid := next(empty, None)) is None:
        pytest.skip("this system has no such group")
    os.chown(ours(trap, 0o775), 0, gid)


def a_home_with_an_access_list(trap: Trap) -> None:
    entries = ((1, 7, -1), (2, 7, OTHER.pw_uid), (4, 5, -1), (16, 7, -1), (32, 5, -1))
    packed = [struct.pack("<HHi", tag, rights, who) for tag, rights, who in entries]
    home = ours(trap, 0o755)
    try:
        os.setxattr(home, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(packed))
    except OSError:
        pytest.skip("this file system keeps no access lists")


def a_folder_above_that_is_theirs(trap: Trap) -> None:
    ours(trap)
    os.chown(trap.folder, OTHER.pw_uid, OTHER.pw_gid)


def a_folder_above_that_all_may_write(trap: Trap) -> None:
    ours(trap)
    trap.folder.chmod(0o777)


def a_folder_above_that_a_group_may_write(trap: Trap) -> None:
    ours(trap)
    os.chown(trap.folder, 0, OTHER.pw_gid)
    trap.folder.chmod(0o775)


def a_sticky_folder_above_that_is_theirs(trap: Trap) -> None:
    ours(trap)
    os.chown(trap.folder, OTHER.pw_uid, OTHER.pw_gid)
    trap.folder.chmod(0o1777)


def file_of_theirs(name: str) -> Callable[[Trap], None]:
    def plant(trap: Trap) -> None:
        give(ours(trap) / name)

    return plant


def file_open_to_all(trap: Trap) -> None:
    (ours(trap) / "state.json").chmod(0o666)


def link_of_theirs(name: str) -> Callable[[Trap], None]:
    def plant(trap: Trap) -> None:
        (ours(trap) / name).rename(trap.folder / "elsewhere")
        (trap.home / name).symlink_to(trap.folder / "elsewhere")
        give(trap.home / name)

    return plant


def pipe_of_theirs(name: str) -> Callable[[Trap], None]:
    def plant(trap: Trap) -> None:
        (ours(trap) / name).unlink()
        os.mkfifo(trap.home / name)
        give(trap.home / name)

    return plant


def folder_of_theirs(name: str) -> Callable[[Trap], None]:
    def plant(trap: Trap) -> None:
        (ours(trap) / name).mkdir()
        give(trap.home / name)

    return plant


def folder_behind_a_link_of_theirs(name: str) -> Callable[[Trap], None]:
    def plant(trap: Trap) -> None:
        (ours(trap) / name).symlink_to(trap.folder)
        give(trap.home / name)

    return plant


PLANTED: dict[str, Callable[[Trap], None]] = {
    **{
        plant.__name__.replace("_", " "): plant
        for plant in (
            *(a_whole_home, a_home_made_by_the_other_user, an_empty_home, a_link_to_another_home),
            *(a_link_to_a_home_of_ours, our_link_to_theirs, a_home_open_to_all),
            *(a_home_in_a_sticky_mode, a_home_open_to_a_group, a_home_with_an_access_list),
            a_home_open_to_a_group_that_names_nobody,
            *(a_folder_above_that_is_theirs, a_folder_above_that_all_may_write),
            *(a_folder_above_that_a_group_may_write, a_sticky_folder_above_that_is_theirs),
            file_open_to_all,
        )
    },
    "a state of theirs": file_of_theirs("state.json"),
    "passwords of theirs": file_of_theirs("secrets.json"),
    "a lock of theirs": file_of_theirs("lock.json"),
    "a state behind a link": link_of_theirs("state.json"),
    "passwords behind a link": link_of_theirs("secrets.json"),
    "a pipe as the state": pipe_of_theirs("state.json"),
    "a pipe as the lock": pipe_of_theirs("lock.json"),
    "a pipe as the processes": pipe_of_theirs("processes.json"),
    "a spool of theirs": folder_of_theirs("spool"),
    "artifacts of theirs": folder_of_theirs("artifacts"),
    "logs of theirs": folder_of_theirs("logs"),
    "models behind a link": folder_behind_a_link_of_theirs("models"),
    "Valkey's folder behind a link": folder_behind_a_link_of_theirs("valkey"),
    "Postgres' folder behind a link": folder_behind_a_link_of_theirs("postgres"),
}
