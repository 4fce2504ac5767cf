"""What another user's home does not let us see is not taken for absent, and whose it is is said."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from second_user import OTHER, as_other, only_root, run_as_other, shared_folder

from analyses.checkpoints import folders as checkpoints
from analyses.errors import MayNotBeRead
from analyses.prompts import files, rows
from analyses.prompts.bounds import Bounds
from analyses.prompts.data_names import FolderName
from tracker.errors import TrackerError
from tracker.home.home import Home, StackState
from tracker.home.ownership import BelongsToAnother, NotOurs, NotReadable
from tracker.publishing.spool import CannotKeep, Spool
from tracker.settings.settings import Settings
from tracker.supervisor import control, folders, lock, passwords, postgres_place, processes
from tracker.supervisor.errors import DamagedFile
from tracker.supervisor.options import StackOptions

pytestmark = only_root

ASKED: dict[str, Callable[[Home], object]] = {
    "down": control.down,
    "status": control.status,
    "up": control.up,
    "up --detach": lambda home: control.up(home, detach=True),
    "the addresses": lambda home: Settings(home=home.root).database(),
    "whether the lock is free": lock.is_free,
    "what runs": processes.read,
    "the passwords": passwords.of_home,
    "where Postgres is": postgres_place._recorded,
    "a tensor": lambda home: Spool(home.spool).path("0" * 64),
    "all tensors": lambda home: Spool(home.spool).copies(),
}


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


@pytest.fixture
def home(shared: Path) -> Home:
    """A home of root's on which a stack runs, to go by its files."""
    home, me = Home(shared / "home"), psutil.Process()
    home.root.mkdir(mode=0o700)
    with lock.held(home):
        pass
    passwords.of_home(home)
    url = "postgresql+psycopg://w:made-at-random@/h"
    started = me.create_time()
    home.write_state(
        StackState(
            pid=me.pid,
            started=started,
            database_url=url,
            broker_url="redis://",
            mlflow_tracking_uri="http://127.0.0.1:5000",
            app_url="http://127.0.0.1:8501",
            owner_url=url,
        )
    )
    lock_text = f'{{"pid": {me.pid}, "started": {started!r}}}'
    home.lock_file.write_text(lock_text)
    home.processes_file.write_text('{"state": "running", "components": []}')
    (home.root / "postgres.json").write_text('{"folder": "/var/lib/x"}')
    Spool(home.spool).put(b"tensors")
    return home


@pytest.mark.parametrize("asked", ASKED)
def test_a_folder_that_shuts_us_out_is_named_with_owner_and_mode(home: Home, asked: str) -> None:
    with as_other(), pytest.raises((NotReadable, BelongsToAnother)) as caught:
        ASKED[asked](home)
    assert f"the folder {home.root} belongs to user root (mode 0700)" in str(caught.value)
    assert "Run the command as its owner" in str(caught.value)


@pytest.mark.parametrize("asked", [name for name in ASKED if name not in ("what runs", "up")])
def test_files_that_are_shut_in_an_open_folder_are_named(home: Home, asked: str) -> None:
    """As where root has made the home: others pass through it to their own Postgres."""
    home.root.chmod(0o711)
    for file in home.root.glob("*.json"):
        file.chmod(0o600)
    said = r"belongs to user root \(mode 0[67][01][01]\)"
    with as_other(), pytest.raises((NotReadable, BelongsToAnother), match=said):
        ASKED[asked](home)


def test_the_commands_say_it_in_one_sentence(home: Home) -> None:
    for command in (["down"], ["status", "--json"]):
        environment = {"PATH": "/usr/bin:/bin", "HEADBOOK_HOME": str(home.root)}
        ran = run_as_other("from tracker.cli import main", "main()", *command, env=environment)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith("Error: This home belongs to another user")
        assert f"the folder {home.root} belongs to user root" in ran.stderr
        assert ran.stderr.count("\n") == 1


def everything_in(home: Home) -> dict[str, tuple[int, int]]:
    found = (path for path in home.root.rglob("*"))
    return {str(path): (path.stat().st_uid, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("detach", [False, True])
def test_root_leaves_another_users_home_as_it_is(home: Home, detach: bool) -> None:
    for path in (home.root, *home.root.rglob("*")):
        os.chown(path, OTHER.pw_uid, OTHER.pw_gid)
    home.lock_file.write_text("")
    before = everything_in(home)
    with pytest.raises(BelongsToAnother, match="belongs to user nobody") as caught:
        control.up(home, detach=detach)
    assert everything_in(home) == before
    assert not advises_deletion(caught.value)


def test_a_strangers_folder_of_tensors_is_never_to_be_removed(shared: Path) -> None:
    home = Home(shared / "home")
    home.artifacts.mkdir(parents=True)
    os.chown(home.artifacts, OTHER.pw_uid, OTHER.pw_gid)
    with pytest.raises(NotOurs, match=r"belongs to user nobody \(mode 0755\)") as caught:
        control.up(home, options=StackOptions())
    assert not advises_deletion(caught.value)
    assert home.artifacts.is_dir()


def test_a_folder_that_others_may_write_to_is_put_right_by_its_mode(shared: Path) -> None:
    open_one, link = shared / "open", shared / "link"
    open_one.mkdir()
    open_one.chmod(0o777)
    link.symlink_to(shared)
    with pytest.raises(NotOurs, match=f"chmod go-w {open_one}") as caught:
        folders.check_ours(open_one, uid=0)
    with pytest.raises(NotOurs, match="Move it away") as moved:
        folders.check_ours(link, uid=0)
    assert not advises_deletion(caught.value)
    assert not advises_deletion(moved.value)


def advises_deletion(error: TrackerError) -> bool:
    return any(word in str(error).lower() for word in ("remove", "delete", "rm -"))


def test_a_stack_of_another_user_is_not_stopped(home: Home) -> None:
    """Where its files are open, the signal is refused."""
    home.root.chmod(0o755)
    for path in home.root.glob("*.json"):
        path.chmod(0o666)
    environment = {"PATH": "/usr/bin:/bin", "HEADBOOK_HOME": str(home.root)}
    ran = run_as_other("from tracker.cli import main", "main()", "down", env=environment)
    assert ran.stderr.startswith("Error: This home belongs to another user")
    assert "belongs to user root" in ran.stderr


def test_another_users_spool_is_not_a_full_disk(home: Home) -> None:
    with as_other(), pytest.raises(CannotKeep, match="belongs to user root") as caught:
        Spool(home.spool).put(b"mine")
    assert "Make room" not in str(caught.value)


def test_passwords_that_cannot_be_read_are_not_made_anew(home: Home) -> None:
    home.secrets_file.write_text('{"postgres": ')
    with pytest.raises(DamagedFile, match="Restore it"):
        passwords.of_home(home)
    assert home.secrets_file.read_text() == '{"postgres": '


def test_data_that_may_not_be_read_are_not_missing(shared: Path) -> None:
    """A subject folder that is passed over would leave its questions out without a word."""
    (shared / "open").mkdir()
    (shared / "open" / "a.jsonl").write_text('{"question": "?"}\n')
    shut = shared / "shut"
    shut.mkdir(mode=0o700)
    (shut / "b.jsonl").write_text('{"question": "?"}\n')
    secret = shared / "secret.jsonl"
    secret.write_text("{}\n")
    secret.chmod(0o600)
    reader = rows.Reader(str(shared), ["question"], bounds=Bounds())
    with as_other():
        with pytest.raises(MayNotBeRead, match=f"cannot read {shut}"):
            list(reader.of_folder(FolderName(shared, "", "")))
        with pytest.raises(MayNotBeRead, match=f"cannot read {secret}"):
            list(reader.of_file(secret))
        with pytest.raises(MayNotBeRead, match=f"cannot read {shut / 'b.jsonl'}"):
            files.existing(shut / "b.jsonl")


def test_a_model_that_may_not_be_read_is_not_missing(shared: Path) -> None:
    shut, closed = shared / "shut", shared / "closed"
    for folder in (shut, closed):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    shut.chmod(0o700)
    (closed / "config.json").chmod(0o600)
    with as_other():
        with pytest.raises(MayNotBeRead, match=f"cannot read {shut / 'model.gguf'}"):
            checkpoints.resolve(str(shut / "model.gguf"))
        with pytest.raises(MayNotBeRead, match=f"cannot read {closed / 'config.json'}"):
            checkpoints.read(closed)


def test_a_log_that_may_not_be_read_is_not_empty(shared: Path) -> None:
    from tracker.supervisor.errors import last_lines

    log = shared / "a.log"
    log.write_text("why\n")
    log.chmod(0o600)
    with as_other():
        assert last_lines(log) == "\n  (it cannot be read: Permission denied)"
        assert last_lines(shared / "none.log") == ""
