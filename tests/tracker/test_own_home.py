"""Files of a home are read and written as regular files of our own, whatever is there."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from second_user import OTHER, only_root

from tracker.home.home import Home
from tracker.home.ownership import NotOurs
from tracker.publishing.spool import Spool
from tracker.supervisor import folders, lock, passwords, ports, processes
from tracker.supervisor.options import StackOptions
from tracker.supervisor.process import log_file

from .traps import Trap, ours

pytestmark = [only_root, pytest.mark.attack(37, "homes that another local user has planted")]


def with_alarm(seconds: int) -> None:
    """A test that waits for a pipe ends."""

    def fail(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)


READERS: dict[str, Callable[[Home], object]] = {
    "secrets.json": passwords.of_home,
    "state.json": Home.running,
    "lock.json": lock.holder,
    "processes.json": processes.read,
    "ports.json": lambda home: ports._last(home.root / "ports.json"),
}


@pytest.mark.parametrize("kind", ["pipe", "link", "second name", "folder"])
@pytest.mark.parametrize("file", READERS)
def test_what_is_no_plain_file_of_ours_is_not_read(trap: Trap, file: str, kind: str) -> None:
    """Though it is our own: by a slip, or planted while the home was open."""
    home = Home(ours(trap, 0o700))
    path = home.root / file
    path.rename(trap.folder / "moved")
    {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(trap.folder / "moved"),
        "second name": lambda: path.hardlink_to(trap.folder / "moved"),
        "folder": path.mkdir,
    }[kind]()
    with_alarm(10)
    try:
        with pytest.raises((NotOurs, IsADirectoryError)):
            READERS[file](home)
    finally:
        signal.alarm(0)


def test_a_log_is_written_into_no_pipe_link_or_second_name(trap: Trap) -> None:
    trap.home.mkdir(mode=0o700)
    mine = trap.folder / "mine"
    mine.write_text("mine")
    log = trap.home / "up.log"
    with_alarm(10)
    try:
        for plant in (lambda: os.mkfifo(log), lambda: log.symlink_to(mine)):
            plant()
            with log_file(log) as file:
                file.write(b"said")
            assert log.read_text() == "said"
            log.unlink()
        log.hardlink_to(mine)
        log_file(log).close()
    finally:
        signal.alarm(0)
    assert mine.read_text() == "mine"


def test_a_tensor_behind_a_link_or_in_a_pipe_is_no_copy(trap: Trap) -> None:
    spool = Spool(trap.home / "spool")
    name = spool.put(b"tensors")
    (trap.home / "spool" / name).rename(trap.folder / "moved")
    with_alarm(10)
    try:
        (trap.home / "spool" / name).symlink_to(trap.folder / "moved")
        assert spool.path(name) is None
        os.mkfifo(trap.home / "spool" / name)
        assert spool.path(name) is None
    finally:
        signal.alarm(0)
    assert (trap.folder / "moved").read_bytes() == b"tensors"


def test_a_folder_for_sockets_that_was_planted_first_is_passed_over(trap: Trap) -> None:
    long = trap.folder / ("x" * 100)
    planted = Path("/tmp") / f"headbook-0-{folders.digest(long)}"
    for plant in (planted.mkdir, lambda: planted.symlink_to(trap.folder)):
        plant()
        os.chown(planted, OTHER.pw_uid, OTHER.pw_gid, follow_symlinks=False)
        try:
            found = folders.for_socket(long, ".s.PGSQL.5432")
            assert found.is_relative_to("/var/tmp")
            assert list(trap.folder.iterdir()) == []
        finally:
            planted.unlink() if planted.is_symlink() else planted.rmdir()
        folders.tidy(found)


def test_with_a_umask_of_nothing_all_files_are_closed(trap: Trap) -> None:
    before = os.umask(0)
    try:
        home = Home(trap.folder / "above" / "home")
        with lock.held(home):
            passwords.of_home(home)
            ports.choose(home, StackOptions())
            processes.Notice(home).write("starting", ())
            log_file(home.log("up")).close()
            Spool(home.spool).put(b"tensors")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.root.rglob("*")}
    assert {name for name, mode in modes.items() if mode & 0o077} == set()
    assert {each.stat().st_mode & 0o022 for each in (home.root, home.root.parent)} == {0}


def test_files_of_an_older_home_are_closed_at_the_next_start(trap: Trap) -> None:
    home = Home(ours(trap, 0o755))
    with lock.held(home):
        assert {path.stat().st_mode & 0o077 for path in home.root.glob("*.json")} == {0}
    assert home.root.stat().st_mode & 0o777 == 0o755
