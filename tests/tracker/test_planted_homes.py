"""Homes that another local user has planted, or can change, are used by no command."""

import grp
import json
import os
import pwd
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from second_user import OTHER, as_other, only_root, shared_folder
from typer.testing import CliRunner

from tracker import redaction
from tracker.cli import app
from tracker.errors import NoDatabase
from tracker.home import Home
from tracker.ownership import BelongsToAnother, NotOurs
from tracker.settings import Settings
from tracker.spool import Spool
from tracker.supervisor import control, folders, lock, passwords, ports, processes
from tracker.supervisor.process import log_file

pytestmark = [only_root, pytest.mark.attack(37, "homes that another local user has planted")]

COMMANDS = (
    *(("up",), ("up", "--detach"), ("down",), ("status",), ("worker",), ("dispatch",), ("app",)),
    *(("db", "upgrade"), ("runs", "list"), ("publish",), ("demo",), ("models", "list")),
    *(("models", "add", "mcq-small"), ("runs", "logs", "0123abcd")),
    ("submit", "attention", "--model", "m", "--distribution", "facts"),
)


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


def seen(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (each.st_uid, each.st_mode, each.st_mtime_ns) for name, each in found.items()}


@pytest.mark.parametrize("planted", PLANTED)
def test_no_command_uses_a_home_that_another_user_has_planted(planted: str, trap: Trap) -> None:
    PLANTED[planted](trap)
    before = seen(trap.folder)
    for command in COMMANDS:
        ended = CliRunner().invoke(app, command)
        assert isinstance(ended.exception, NotOurs | BelongsToAnother), (command, ended.output)
    assert seen(trap.folder) == before
    assert trap.victim.poll() is None
    with pytest.raises(BlockingIOError):  # nobody has called
        trap.ear.accept()
    assert "known-to-them" not in redaction._known


def test_a_home_is_not_found_by_standing_in_a_folder_of_all(
    trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADBOOK_HOME")
    monkeypatch.chdir(trap.folder)
    trap.folder.chmod(0o1777)
    with as_other():
        (trap.folder / ".headbook").mkdir()
        trap.fill(trap.folder / ".headbook")
    with pytest.raises(BelongsToAnother, match="belongs to user nobody"):
        Settings().database()
    (trap.folder / ".headbook").rename(trap.folder / "planted")
    with pytest.raises(NoDatabase):
        Settings().database()  # in a folder such as /tmp one's own home is safe
    trap.folder.chmod(0o777)
    with pytest.raises(NotOurs, match=f"others may write to {trap.folder}"):
        Settings().database()


def test_an_ordinary_user_is_kept_from_a_third_ones_home(trap: Trap) -> None:
    trap.home.mkdir()
    os.chown(trap.home, 12345, 12345)
    with as_other(), pytest.raises(BelongsToAnother, match="belongs to user 12345"):
        Home(trap.home)
    os.chown(trap.home, OTHER.pw_uid, OTHER.pw_gid)
    with as_other():
        Home(trap.home)
    (trap.home / "secrets.json").touch(mode=0o644)
    os.chown(trap.home / "secrets.json", 12345, 12345)
    with as_other(), pytest.raises(NotOurs, match="belongs to user 12345"):
        Home(trap.home)


def allowed_0755(trap: Trap) -> None:
    ours(trap, 0o755)


def allowed_link(trap: Trap) -> None:
    ours(trap)
    trap.home.rename(trap.folder / "disk")
    trap.home.symlink_to(trap.folder / "disk")


def allowed_sticky(trap: Trap) -> None:
    ours(trap)
    trap.folder.chmod(0o1777)


def allowed_own_group(trap: Trap) -> None:
    """As with a umask of 002 and a group of one's own."""
    ours(trap, 0o775)
    trap.folder.chmod(0o775)


def allowed_others_things(trap: Trap) -> None:
    (ours(trap) / "notes").write_text("of a colleague")
    give(trap.home / "notes")


def allowed_linked_folders(trap: Trap) -> None:
    (trap.folder / "large").mkdir()
    (ours(trap) / "models").symlink_to(trap.folder / "large")


@pytest.mark.parametrize(
    "arrange",
    [
        *(allowed_0755, allowed_link, allowed_sticky, allowed_own_group),
        *(allowed_others_things, allowed_linked_folders),
    ],
)
def test_what_a_single_user_arranges_goes_on_working(
    arrange: Callable[[Trap], None], trap: Trap
) -> None:
    arrange(trap)
    state = Home(trap.home).running()
    assert state is not None
    assert control.status(Home(trap.home)).state == "stopped"
    assert passwords.of_home(Home(trap.home)).valkey == "known-to-them"


def test_down_signals_nobody_but_the_supervisor_of_this_home(trap: Trap) -> None:
    """The files are our own, as of a crash long ago; the numbers are those of others by now."""
    home = Home(ours(trap))
    root = psutil.Process(1)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        for pid, started in (
            (trap.victim.pid, psutil.Process(trap.victim.pid).create_time()),
            (stranger.pid, psutil.Process(stranger.pid).create_time()),
            (1, root.create_time()),
            (-stranger.pid, psutil.Process(stranger.pid).create_time()),
            (os.getpid(), psutil.Process().create_time()),
            (True, root.create_time()),
            ("1", 0.0),
        ):
            home.lock_file.write_text(json.dumps({"pid": pid, "started": started}))
            assert lock.holder(home) is None
            assert not control.down(home)
        assert (trap.victim.poll(), stranger.poll()) == (None, None)
    finally:
        stranger.kill()
        stranger.wait()


def test_the_supervisor_of_this_home_is_known_by_the_lock_it_has_open(trap: Trap) -> None:
    home = Home(trap.home)
    with lock.held(home):
        found = lock.holder(home)
        assert found is not None
        assert found.pid == os.getpid()
    assert lock.holder(home) is None


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
            ports.choose(home, control.StackOptions())
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
