import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tracker.home import Home, StackState
from tracker.supervisor import (
    background,
    control,
    folders,
    postgres_place,
    reachability,
    services,
)
from tracker.supervisor.errors import (
    AlreadyRunning,
    HomeNotWritable,
    PortInUse,
    Unreachable,
)
from tracker.supervisor.options import NotAPort, StackOptions
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.valkey import EmbeddedValkey

from .light_stack import (
    SUPERVISOR,
    clean_environment,
    command_lines,
    component,
    end,
    family_of,
    plain,
    still_there,
    wait_for,
    wait_ready,
)


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    postgres_place.remove(home)


@pytest.fixture
def start(home):
    """Starts supervisors and ends what is left of them."""
    started = []

    def start(*extra, **environment):
        process = subprocess.Popen(
            (sys.executable, "-c", SUPERVISOR, str(home.root), *extra),
            env=clean_environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def stack(start):
    process = start()
    wait_ready(process)
    return process


@pytest.fixture
def stranger():
    """A process that is none of ours."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def keep_something(home):
    """One row and one key, to be found again."""
    state = home.running()
    with psycopg.connect(superuser(home)) as connection:
        connection.execute("CREATE TABLE public.kept (one) AS VALUES (1)")
    with broker(state) as connection:
        connection.set("kept", "yes")


def check_kept(home):
    with psycopg.connect(superuser(home)) as connection:
        assert connection.execute("SELECT one FROM public.kept").fetchall() == [(1,)]
    with broker(home.running()) as connection:
        assert connection.get("kept") == b"yes"


def superuser(home):
    password = json.loads(home.secrets_file.read_text())["postgres"]
    _, _, place = plain(home.running().database_url).partition("@")
    return f"postgresql://postgres:{password}@{place}"


def broker(state):
    password, _, path = state.broker_url.removeprefix("redis+socket://:").partition("@")
    return redis.Redis(unix_socket_path=path.partition("?")[0], password=password)


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
    with psycopg.connect(home.running().database_url.replace("+psycopg", "")):
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
    (second,) = wait_for(lambda: [p for p in guards() if p.pid != first.pid])
    children = family_of(stack)
    stack.kill()
    wait_for(lambda: not still_there(children))
    assert second in children


@pytest.mark.parametrize("name", ["web", "family", "valkey", "postgres"])
def test_a_child_that_dies_is_started_again_and_its_family_ends(home, stack, name):
    keep_something(home)
    before = psutil.Process(component(home, name).pid)
    family = before.children(recursive=True)
    before.kill()
    wait_for(lambda: component(home, name).restarts and component(home, name).state == "running")
    wait_for(lambda: not still_there(family))
    check_kept(home)
    assert f"{name} died" in home.log("supervisor").read_text()


def test_a_service_that_cannot_live_ends_the_start_and_names_its_log(home, start):
    _, said = start("raise SystemExit('no such module')").communicate(timeout=60)
    assert "extra did not start" in said
    assert str(home.log("extra")) in said
    assert "no such module" in said
    assert control.status(home).state == "stopped"


def test_a_stop_while_starting_stops_what_has_started(home, start):
    process = start()
    wait_for(lambda: component(home, "postgres"))
    children = family_of(process)
    assert "Stopped before everything was up" in end(process)
    assert still_there(children) == []


def test_ports_stay_the_same_from_one_time_to_the_next(home, start, stack):
    url = home.running().app_url
    end(stack)
    wait_ready(start())
    assert home.running().app_url == url


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


@pytest.fixture
def mlflow():
    """An address where something says that it is well."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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


def test_a_stack_in_the_background_outlives_who_started_it(home):
    command = (sys.executable, "-c", SUPERVISOR, str(home.root))
    state = background.start(home, command=command)
    assert os.getsid(state.pid) == state.pid
    assert home.running() == state
    assert control.down(home) is True


def test_a_background_start_that_fails_shows_what_was_said(home):
    with pytest.raises(background.DidNotStart, match="out of luck"):
        background.start(home, command=(sys.executable, "-c", "raise SystemExit('out of luck')"))


def test_devices_are_those_that_the_person_left_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert services.cuda_devices() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert services.cuda_devices() == []


def test_the_whole_stack_comes_up_by_the_command_line_and_ends_with_its_supervisor(tmp_path):
    home = Home(tmp_path / "a home")
    command = (sys.executable, "-m", "tracker.cli")
    environment = clean_environment() | {"HEADBOOK_HOME": str(home.root)}

    def run(*arguments):
        return subprocess.run(
            (*command, *arguments), env=environment, capture_output=True, text=True, timeout=200
        )

    try:
        up = run("up", "--detach")
        assert up.returncode == 0, up.stderr
        state = home.running()
        assert state.app_url in up.stdout
        assert "worker" in run("status").stdout
        assert services.answers(f"{state.app_url}/_stcore/health")()
        assert answer(state.mlflow_tracking_uri, "localhost") == 200
        assert answer(state.mlflow_tracking_uri, "evil.example") == 403
        wait_for(lambda: " ready." in home.log("worker").read_text(), seconds=60)
        children = family_of(state)
        assert len(children) > 12
        psutil.Process(state.pid).kill()
        wait_for(lambda: not still_there(children))
        assert "No stack runs here" in run("down").stdout
    finally:
        control.down(home)
        postgres_place.remove(home)
        for server in ("valkey", "postgres"):  # a killed stack leaves its short socket folders
            folders.tidy(folders.for_socket(home.root / server / "run", "socket"))


def answer(url, host):
    """The status of a request that names this host."""
    place, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(place, int(port), timeout=30)
    try:
        connection.request(
            "GET",
            "/api/2.0/mlflow/experiments/get?experiment_id=0",
            headers={"Host": f"{host}:{port}"},
        )
        return connection.getresponse().status
    finally:
        connection.close()
