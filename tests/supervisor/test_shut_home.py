"""What another local user reaches of a stack that root has started: nothing of it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from plain_connection import connect
from second_user import OTHER, as_other, only_root, run_as_other, shared_folder

from tracker.home.home import Home
from tracker.supervisor import postgres_place, postgres_user
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.process import Owner, can_run

pytestmark = [
    only_root,
    pytest.mark.xdist_group("shut home"),
    pytest.mark.attack(37, "root's Postgres, reached for by another local user"),
]
FAST = {"fsync": "off"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Started with the modes of a careless shell, in a home through which everybody may pass."""
    before = os.umask(0)
    with shared_folder() as folder:
        postgres = EmbeddedPostgres(Home(folder / "home"), settings=FAST)
        postgres.home.make()
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()
            os.umask(before)


def lists(path: Path) -> Callable[[EmbeddedPostgres], object]:
    return lambda postgres: list((postgres._place.folder / path).iterdir())


def connects(postgres: EmbeddedPostgres) -> None:
    connect(postgres.url("headbook", "headbook_reader").replace("headbook_reader", "postgres"))


def server(postgres: EmbeddedPostgres) -> int:
    assert postgres._process is not None
    return postgres._process.pid


ATTEMPTS: dict[str, Callable[[EmbeddedPostgres], object]] = {
    "list its folder": lists(Path()),
    "list its data": lists(Path("data")),
    "list its sockets": lists(Path("run")),
    "read a file by its name": lambda p: (p._place.data / "PG_VERSION").read_bytes(),
    "read its rules": lambda p: (p._place.data / "pg_hba.conf").read_bytes(),
    "read its log": lambda p: p.log.read_bytes(),
    "read the passwords": lambda p: p.home.secrets_file.read_bytes(),
    "write into its data": lambda p: (p._place.data / "recovery.signal").touch(),
    "end it": lambda p: os.kill(server(p), 15),
    "see its folder through its process": lambda p: os.listdir(f"/proc/{server(p)}/cwd"),
    "read its memory": lambda p: Path(f"/proc/{server(p)}/mem").read_bytes(),
    "read its environment": lambda p: Path(f"/proc/{server(p)}/environ").read_bytes(),
    "take its open files": lambda p: os.listdir(f"/proc/{server(p)}/fd"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nobody_reaches_the_server_of_root(postgres: EmbeddedPostgres, attempt: str) -> None:
    """As `nobody`, whom many services run as, and as whom it ran before."""
    with as_other(), pytest.raises(PermissionError):
        ATTEMPTS[attempt](postgres)


def test_nobody_gets_as_far_as_being_asked_for_a_password(postgres: EmbeddedPostgres) -> None:
    code = (
        "import sys; s = socket.socket(socket.AF_UNIX)\n"
        "try:\n s.connect(sys.argv[1])\nexcept PermissionError:\n print('refused')"
    )
    ran = run_as_other("import socket, sys", f"exec({code!r})", postgres.address, env={})
    assert ran.stdout == "refused\n", ran.stderr


def test_it_runs_as_a_user_that_nobody_else_is(postgres: EmbeddedPostgres) -> None:
    process = psutil.Process(server(postgres))
    (uid,), (gid,) = set(process.uids()), set(process.gids())
    assert uid == gid
    assert uid in postgres_user.NUMBERS
    family = {process.pid, *(child.pid for child in process.children(recursive=True))}
    same = {each.pid for each in psutil.process_iter() if uid in postgres_user._ids(each)}
    assert same <= family
    owners = {path.lstat().st_uid for path in postgres._place.data.rglob("*")}
    assert owners == {uid}


@pytest.fixture
def home() -> Iterator[Home]:
    with shared_folder() as folder:
        home = Home(folder / "home")
        home.make()
        yield home
        postgres_place.remove(home)


def filled(home: Home, run_as: str | None) -> None:
    postgres = EmbeddedPostgres(home, run_as=run_as, settings=FAST)
    postgres.start()
    with connect(postgres.url()) as connection:
        connection.execute("CREATE TABLE kept (one) AS VALUES (1)")
    postgres.stop()


def kept(home: Home) -> tuple[list[tuple[int]], set[int]]:
    """What is in the table, and who owns the data."""
    postgres = EmbeddedPostgres(home, settings=FAST)
    postgres.start()
    try:
        with connect(postgres.url()) as connection:
            rows = connection.execute("SELECT one FROM kept").fetchall()
    finally:
        postgres.stop()
    data = postgres._place.data
    return rows, {path.lstat().st_uid for path in (data, *data.rglob("*"))}


@pytest.mark.servers
def test_data_of_nobody_is_handed_over_and_what_was_cut_short_is_done_again(home: Home) -> None:
    filled(home, "nobody")
    data = home.root / "postgres" / "data"
    assert data.stat().st_uid == OTHER.pw_uid
    for path in list(data.rglob("*"))[::2]:  # as a first try would have left it
        os.chown(path, postgres_user.NUMBERS[7], postgres_user.NUMBERS[7])
    (home.root / "postgres").chmod(0o711)
    rows, owners = kept(home)
    assert rows == [(1,)]
    assert len(owners) == 1
    assert owners <= set(postgres_user.NUMBERS)
    assert kept(home) == (rows, owners)  # and stays so
    assert (home.root / "postgres").stat().st_mode & 0o777 == 0o710


@pytest.mark.servers
def test_what_nobody_has_put_among_the_data_gives_nobody_a_file_of_root(
    home: Home, tmp_path: Path
) -> None:
    """Root passes through that folder: by a link there it must neither give nor write anything."""
    filled(home, "nobody")
    data = home.root / "postgres" / "data"
    secrets = []
    for name in ("linked", "named", "postmaster.pid"):
        secret = home.root / f"secret-{name}"
        secret.write_text(f"{os.getpid()}\nof root\n")
        secret.chmod(0o600)
        secrets.append(secret)
    (data / "linked").symlink_to(secrets[0])
    (data / "named").hardlink_to(secrets[1])
    (data / "postmaster.pid").symlink_to(secrets[2])
    before = [(s.read_text(), s.stat().st_uid, s.stat().st_mode) for s in secrets]
    rows, _ = kept(home)
    assert rows == [(1,)]
    assert [(s.read_text(), s.stat().st_uid, s.stat().st_mode) for s in secrets] == before


@pytest.mark.servers
def test_a_pipe_in_the_place_of_its_pid_file_holds_nobody_up(home: Home) -> None:
    filled(home, None)
    os.mkfifo(home.root / "postgres" / "data" / "postmaster.pid")
    assert kept(home)[0] == [(1,)]


@pytest.mark.servers
def test_a_named_user_takes_it_over_and_no_number_is_used(home: Home) -> None:
    filled(home, None)
    postgres = EmbeddedPostgres(home, run_as="nobody", settings=FAST)
    postgres.start()
    postgres.stop()
    assert (home.root / "postgres" / "data").stat().st_uid == OTHER.pw_uid


def test_a_number_that_is_taken_is_passed_over(home: Home) -> None:
    first = postgres_user.of_cluster(home, home.root / "none")
    sleeper = subprocess.Popen(["sleep", "60"], user=first.uid, group=first.gid, extra_groups=[])
    try:
        second = postgres_user.of_cluster(home, home.root / "none")
    finally:
        sleeper.kill()
        sleeper.wait()
    assert second.uid != first.uid
    assert can_run(("/bin/sh", "-c", ":"), Owner(second.uid, second.gid, second.name))


@pytest.mark.servers
def test_what_root_keeps_outside_is_as_closed(home: Home) -> None:
    home.root.chmod(0o700)
    filled(home, None)
    folder = Path(json.loads((home.root / "postgres.json").read_text())["folder"])
    assert folder.stat().st_mode & 0o777 == 0o710
    assert folder.stat().st_gid in postgres_user.NUMBERS
    with as_other(), pytest.raises(PermissionError):
        list((folder / "data").iterdir())
