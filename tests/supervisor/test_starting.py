"""What a stack needs to start, and what is said where it cannot."""

import socket
import sys
from pathlib import Path

import pytest
from plain_connection import plain
from waits import when

from tracker.home.home import Home
from tracker.supervisor import background, control, ports, postgres_place, reachability
from tracker.supervisor.errors import HomeNotWritable, PortInUse, Unreachable
from tracker.supervisor.options import NotAPort, StackOptions
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.valkey import EmbeddedValkey

from .light_stack import component, end, family_of, still_there, wait_ready


def test_a_stop_while_starting_stops_what_has_started(home, start):
    process = start()
    when(lambda: component(home, "postgres"))
    children = family_of(process)
    assert "Stopped before the stack was ready" in end(process)
    assert still_there(children) == []


def test_ports_stay_the_same_from_one_time_to_the_next(home, start, stack):
    url = home.running().app_url
    end(stack)
    wait_ready(start())
    assert home.running().app_url == url


@pytest.mark.parametrize(
    "damaged",
    ["", "[1]", '{"app": "x", "mlflow": 1}', '{"app": 70000, "mlflow": -1}', '{"app": null}', "\0"],
)
def test_ports_that_were_kept_badly_are_chosen_anew(home, damaged):
    home.root.mkdir()
    (home.root / "ports.json").write_text(damaged)
    chosen = ports.choose(home, StackOptions())
    assert 0 < chosen.app < 65536
    assert ports.choose(home, StackOptions()) == chosen


def test_what_only_informs_may_be_damaged(home, start):
    home.root.mkdir(mode=0o711)
    home.logs.mkdir(mode=0o700)
    for log in ("web", "supervisor", "postgres"):
        home.log(log).mkdir()
    for file in (home.processes_file, home.state_file, home.lock_file):
        file.write_text('{"state": 1}')
    assert control.status(home).state == "stopped"
    wait_ready(start())
    assert home.log("supervisor").is_file()
    assert (home.logs / "web.log.unwritable").is_dir()
    home.processes_file.write_text("[]")
    assert control.status(home).state == "starting"


def test_a_port_in_use_is_refused_and_a_free_one_is_taken(home, start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match="HEADBOOK_MLFLOW_PORT"):
            control.up(home, options=StackOptions(mlflow_port=port))
    wait_ready(start(HEADBOOK_APP_PORT=str(port)))
    assert home.running().app_url == f"http://127.0.0.1:{port}"


def test_a_port_that_is_no_number_is_refused():
    with pytest.raises(NotAPort, match="HEADBOOK_APP_PORT is 'web'"):
        StackOptions.from_environment({"HEADBOOK_APP_PORT": "web"})


def test_a_home_that_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for impossible in (file, file / "home", Path("/proc/home")):
        with pytest.raises(HomeNotWritable, match="HEADBOOK_HOME"):
            control.up(Home(impossible))
        with pytest.raises(HomeNotWritable):
            control.up(Home(impossible), detach=True)


def test_given_servers_are_used_and_not_started(home, start, tmp_path, mlflow):
    other = Home(tmp_path / "other")
    other.root.mkdir()
    postgres, valkey = EmbeddedPostgres(other), EmbeddedValkey(other)
    try:
        postgres.start()
        url = plain(postgres.url("headbook"))
        wait_ready(
            start(DATABASE_URL=url, CELERY_BROKER_URL=valkey.start(), MLFLOW_TRACKING_URI=mlflow)
        )
        state = home.running()
        assert state.database_url == postgres.url("headbook")
        assert state.broker_url == valkey.url()
        assert state.mlflow_tracking_uri == mlflow
        assert state.reader_url is None
        assert [c.name for c in control.status(home).components] == ["family", "web"]
        control.down(home)
    finally:
        valkey.stop()
        postgres.stop()
        postgres_place.remove(other)


@pytest.mark.parametrize(
    ("variable", "options"),
    [
        ("DATABASE_URL", {"database_url": "postgresql://me:s3cret@127.0.0.1:1/x"}),
        ("CELERY_BROKER_URL", {"broker_url": "redis://:s3cret@127.0.0.1:1/0"}),
        ("CELERY_BROKER_URL", {"broker_url": "redis+socket://:s3cret@/nowhere?virtual_host=0"}),
        ("CELERY_BROKER_URL", {"broker_url": "amqp://me:s3cret@127.0.0.1:1//"}),
        ("MLFLOW_TRACKING_URI", {"mlflow_tracking_uri": "http://me:s3cret@127.0.0.1:1"}),
    ],
)
def test_a_given_server_that_does_not_answer_is_named_without_its_password(variable, options):
    with pytest.raises(Unreachable, match=variable) as error:
        reachability.check(StackOptions(**options))
    assert "s3cret" not in str(error.value)


def test_a_background_start_that_fails_shows_what_was_said(home):
    with pytest.raises(background.DidNotStart, match="out of luck"):
        background.start(home, command=(sys.executable, "-c", "raise SystemExit('out of luck')"))
