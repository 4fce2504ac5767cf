"""Ready is what says that it does its work; what dies is shown with its reason."""

import subprocess
import sys

import pytest
from waits import when

from tracker.home import readiness
from tracker.supervisor import control, services

from .light_stack import component, wait_ready

ANNOUNCES = "from tracker.home import readiness; readiness.announce()"
DEAD = "http://127.0.0.1:1"


def child(file, code):
    return subprocess.Popen(
        (sys.executable, "-c", code), env={readiness.VARIABLE: str(file)}, stdin=subprocess.PIPE
    )


def test_only_a_living_child_of_ours_is_ready(tmp_path, monkeypatch):
    file = tmp_path / "worker.ready"
    assert not readiness.announced(file)
    for damaged in ("", "7", "7 8 9", "seven now", "\0"):
        file.write_text(damaged)
        assert not readiness.announced(file)
    with child(file, f"{ANNOUNCES}; input()") as process:
        when(lambda: readiness.announced(file))
        said = file.read_text()
        pid, started = said.split()
        file.write_text(f"{pid} {float(started) - 60}")  # whoever had this pid before
        assert not readiness.announced(file)
        file.write_text(said)
        process.communicate(b"\n")
    assert not readiness.announced(file)
    monkeypatch.setenv(readiness.VARIABLE, str(file))
    readiness.announce()  # this process is no child of its own
    assert not readiness.announced(file)


def test_a_service_that_dies_while_it_is_not_ready_yet_ends_the_start(home, start):
    code = "import time; time.sleep(2.2); raise SystemExit('no such module')"
    _, said = start(code).communicate(timeout=90)
    assert "extra failed to start: it exited 3 times, last with code 1" in said
    assert str(home.log("extra")) in said
    assert "restarting it" in said  # what `up` shows meanwhile
    assert control.status(home).state == "stopped"


def test_the_status_tells_how_often_a_service_was_started_and_why(home, start):
    code = f"{ANNOUNCES}; import time; time.sleep(1); raise SystemExit('out of luck')"
    wait_ready(start(code))
    found = when(lambda: (c := component(home, "extra")) and c.restarts and c)
    assert found.last_end == "exit 1, last line of its log: out of luck"
    assert component(home, "web").last_end is None


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_whether_a_server_of_this_machine_is_well_is_asked_without_a_proxy(
    name, mlflow, monkeypatch
):
    for each in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, DEAD)
    assert services.answers(mlflow)()
