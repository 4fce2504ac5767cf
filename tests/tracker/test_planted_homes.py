"""Homes that another local user has planted, or can change, are used by no command."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from second_user import OTHER, as_other, only_root
from typer.testing import CliRunner

from tracker.cli import app
from tracker.home.home import Home
from tracker.home.ownership import BelongsToAnother, NotOurs
from tracker.secrets import redaction
from tracker.settings.settings import NoDatabase, Settings
from tracker.supervisor import control, lock, passwords

from .traps import PLANTED, Trap, give, ours

pytestmark = [only_root, pytest.mark.attack(37, "homes that another local user has planted")]

COMMANDS = (
    *(("up",), ("up", "--detach"), ("down",), ("status",), ("worker",), ("dispatch",), ("app",)),
    *(("db", "upgrade"), ("runs", "list"), ("publish",), ("demo",), ("models", "list")),
    *(("models", "add", "mcq-small"), ("runs", "logs", "0123abcd")),
    ("submit", "attention", "--model", "m", "--distribution", "facts"),
)


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
