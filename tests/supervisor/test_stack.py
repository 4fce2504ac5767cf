"""A stack that is up: found, stopped, killed, and whole the next time."""

import json
import os
import signal
import sys

import psutil
import psycopg
import pytest
from plain_connection import plain
from waits import when

from tracker.home.home import StackState
from tracker.supervisor import background, control, services
from tracker.supervisor.errors import AlreadyRunning

from .kept_data import check_kept, keep_something
from .light_stack import (
    SUPERVISOR,
    command_lines,
    component,
    end,
    family_of,
    still_there,
    wait_ready,
)


def test_a_stack_says_where_it_is_and_stops_without_a_trace(home, stack):
    state = home.running()
    assert state.pid == stack.pid
    assert home.state_file.stat().st_mode & 0o777 == 0o600
    for url, role in (
        (state.database_url, "headbook_worker"),
        (state.reader_url, "headbook_reader"),
    ):
        with psycopg.connect(plain(url)) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
    status = control.status(home)
    assert status.state == "running"
    assert [c.name for c in status.components] == ["postgres", "valkey", "family", "web"]
    assert {c.state for c in status.components} == {"running"}
    children = family_of(stack)
    assert control.down(home) is True
    assert still_there(children) == []
    assert not home.state_file.exists()
    assert control.status(home).state == "stopped"
    assert control.down(home) is False


def test_no_password_is_on_a_command_line_in_a_log_or_in_the_status(home, stack):
    secrets = json.loads(home.secrets_file.read_text()).values()
    shown = [*command_lines(family_of(stack))]
    shown += [log.read_text() for log in home.logs.iterdir()]
    shown += [repr(control.status(home)), home.processes_file.read_text()]
    assert not [secret for secret in secrets if secret in " ".join(shown)]
    assert {log.stat().st_mode & 0o777 for log in home.logs.iterdir()} == {0o600}


def test_the_supervisor_never_imports_what_its_children_run(start):
    assert wait_ready(start()).strip() == "ready []"


def test_a_second_up_is_refused_with_the_pid_and_the_addresses_of_the_first(home, start, stack):
    _, said = start().communicate(timeout=60)
    assert f"pid {stack.pid}" in said
    assert home.running().app_url in said
    with pytest.raises(AlreadyRunning, match="headbook down"):
        control.up(home, detach=True)
    assert stack.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_in_reverse_order(home, stack, number):
    children = family_of(stack)
    end(stack, number)
    assert stack.returncode == 0
    assert still_there(children) == []
    log = home.log("supervisor").read_text()
    order = [log.index(f"stopped {name} ") for name in ("web", "family", "valkey", "postgres")]
    assert order == sorted(order)
    assert "database system is shut down" in home.log("postgres").read_text()


def test_a_killed_supervisor_leaves_no_process_and_the_next_up_has_all_data(home, start, stack):
    keep_something(home)
    children = family_of(stack)
    with psycopg.connect(plain(home.running().database_url)):
        stack.kill()
        again = start()  # at once: it waits until the guard has cleaned up
        wait_ready(again)
    assert still_there(children) == []
    check_kept(home)


def test_a_killed_guard_is_replaced(stack):
    def guards():
        living = still_there(family_of(stack))
        return [p for p in living if "tracker.supervisor.guard" in " ".join(command_lines([p]))]

    (first,) = guards()
    first.kill()
    first.wait(10)
    (second,) = when(lambda: [p for p in guards() if p.pid != first.pid])
    children = family_of(stack)
    stack.kill()
    when(lambda: not still_there(children))
    assert second in children


@pytest.mark.parametrize("name", ["web", "family", "valkey", "postgres"])
def test_a_child_that_dies_is_started_again_and_its_family_ends(home, stack, name):
    keep_something(home)
    before = psutil.Process(component(home, name).pid)
    family = before.children(recursive=True)
    before.kill()
    when(lambda: component(home, name).restarts and component(home, name).state == "running")
    when(lambda: not still_there(family))
    check_kept(home)
    assert f"{name} died" in home.log("supervisor").read_text()


def test_a_reused_pid_is_never_signalled(home, stranger):
    home.root.mkdir()
    started = psutil.Process(stranger.pid).create_time() - 100
    home.lock_file.write_text(json.dumps({"pid": stranger.pid, "started": started}))
    home.write_state(
        StackState(
            pid=stranger.pid,
            started=started,
            database_url="",
            broker_url="",
            mlflow_tracking_uri="",
            app_url="",
            owner_url="",
        )
    )
    assert control.status(home).state == "stopped"
    assert control.down(home) is False
    assert stranger.poll() is None


@pytest.mark.stack
def test_a_stack_in_the_background_outlives_who_started_it(home):
    command = (sys.executable, "-c", SUPERVISOR, str(home.root))
    state = background.start(home, command=command)
    assert os.getsid(state.pid) == state.pid
    assert home.running() == state
    assert control.down(home) is True


def test_devices_are_those_that_the_person_left_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert services.cuda_devices() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert services.cuda_devices() == []
