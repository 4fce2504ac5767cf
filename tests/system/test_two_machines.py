"""Two hosts that share nothing but three addresses: docs/deploy.md, done.

Each has folders, an environment and a virtual environment of its own; the servers are behind ports
and passwords. What differs from two machines: one kernel, one clock, and no network between them.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import mid_part
import psutil
import pytest
from cluster import Machine, Servers, answers, left_behind, virtual_environment
from plain_connection import connect
from stored_runs import detail
from waits import when

from tests.faults.numbers import Numbers, numbers
from tracker.database import db
from tracker.database.db import Sessions
from tracker.results import RunDetail, RunLine
from tracker.secrets.urls import with_psycopg
from tracker.supervisor import ports
from tracker.supervisor.process import Process

pytestmark = pytest.mark.slow

PATIENCE = 180.0  # seconds


@dataclass
class Site:
    """The servers, a dispatcher, and two machines with the package installed."""

    servers: Servers
    one: Machine
    two: Machine
    sessions: Sessions

    def owner(self, *words: str, given: str = "") -> str:
        """A command of whoever owns the schema."""
        return self.one.headbook(*words, given=given, DATABASE_URL=self.owner_url)

    @property
    def owner_url(self) -> str:
        return self.servers.database_url("headbook_owner", "OWNER")

    def queue(self, *more: str) -> str:
        words = ("submit", "attribution", "--model", "mcq-small", "--distribution", "colours")
        many = ("--prompts", "2016", "-p", "batch_size=1")
        run_id: str = self.one.json(*words, *many, "--force", *more)["run"]["id"]
        return run_id

    def shown(self, run_id: str) -> RunDetail:
        return detail(self.sessions, UUID(run_id))

    def ended(self, run_id: str) -> RunLine:
        """The run, once it has ended."""
        when(lambda: self.shown(run_id).line.ended, seconds=PATIENCE)
        return self.shown(run_id).line

    def numbers(self, run_id: str) -> Numbers:
        return numbers(self.sessions, UUID(run_id))

    def measured_by(self, run_id: str) -> set[str]:
        events = self.shown(run_id).events
        return {each.worker for each in events if each.event == "succeeded" and each.worker}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    servers = Servers(folder / "servers")
    dispatcher = None
    try:
        servers.start()
        urls = {
            "DATABASE_URL": servers.database_url(),
            "CELERY_BROKER_URL": servers.broker_url,
            "MLFLOW_TRACKING_URI": servers.mlflow_uri,
        }
        pythons = [virtual_environment(folder / f"venv-{name}", wheel) for name in ("one", "two")]
        one, two = (
            Machine.make(folder / name, python, **urls)
            for name, python in zip(("one", "two"), pythons, strict=True)
        )
        sessions = db.connect(with_psycopg(servers.database_url()))
        site = Site(servers, one, two, sessions)
        site.owner("db", "upgrade")
        site.owner("db", "password", "headbook_worker", given=f"{servers.secrets['WORKER']}\n")
        dispatcher = site.one.start("dispatch")
        site.one.headbook("models", "add", "mcq-small")
        yield site
        db.close(sessions)
    finally:
        if dispatcher:
            dispatcher.stop()
        servers.stop()
        assert left_behind(folder) == []


@pytest.fixture(scope="module")
def readers(site: Site) -> None:
    """Who reads is let in."""
    site.owner("db", "password", "headbook_reader", given="readers\n")


@pytest.fixture
def workers(site: Site) -> Iterator[list[Process]]:
    """One on each machine, known to the database."""
    started = [machine.start("worker") for machine in (site.one, site.two)]
    try:
        when(lambda: {each.pid for each in started} <= pids(site), seconds=PATIENCE)
        yield started
    finally:
        for each in started:
            each.stop()


def pids(site: Site) -> set[int]:
    """Of the workers that are up."""
    names = [each["name"] for each in site.one.json("status")["queue"]["workers"] if each["fresh"]]
    return {int(name.rpartition(":")[2].partition(".")[0]) for name in names}


@pytest.fixture(scope="module")
def alone(site: Site) -> Numbers:
    """What one worker finds."""
    worker = site.two.start("worker")
    try:
        run_id = site.queue("--wait")
        assert len(site.measured_by(run_id)) == 1
        return site.numbers(run_id)
    finally:
        worker.stop()


def test_each_machine_runs_its_own_copy_of_the_package(site: Site) -> None:
    for machine in (site.one, site.two):
        places = machine.python_says("import analyses, tracker; print(tracker.__file__)")
        assert places.startswith(str(machine.python.parents[1]))


def test_a_run_is_shared_by_both_and_has_the_numbers_of_one(
    site: Site, alone: Numbers, workers: list[Process]
) -> None:
    run_id = site.queue("--wait")
    assert len(alone.scores) > 36
    assert site.numbers(run_id) == alone
    names = site.measured_by(run_id)
    assert {int(name.rpartition(":")[2].partition(".")[0]) for name in names} == {
        each.pid for each in workers
    }
    assert site.shown(run_id).line.attempt == 1
    when(lambda: site.shown(run_id).line.published, seconds=PATIENCE)
    for machine in (site.one, site.two):
        said = machine.headbook("publish", "--check", run_id)
        assert "tensors/label_attribution.safetensors is as it was written" in said
    kept = [(machine.root / "home" / "spool").glob("?" * 64) for machine in (site.one, site.two)]
    assert sum(len(list(each)) for each in kept) >= 1


def test_when_a_machine_is_lost_the_other_ends_the_run(
    site: Site, alone: Numbers, workers: list[Process]
) -> None:
    run_id = site.queue()
    when(lambda: len(site.measured_by(run_id)) == 2, seconds=PATIENCE)
    lost = workers.pop()
    parent = psutil.Process(lost.pid)
    mid_part.kill(site.sessions, UUID(run_id), lost.pid, parent, *parent.children(recursive=True))
    lost.kill()  # what else there is of it
    line = site.ended(run_id)
    assert (line.state, line.attempt) == ("succeeded", 2)
    reasons = [event.reason or "" for event in site.shown(run_id).events]
    assert any(f":{lost.pid}." in reason and "no heartbeat" in reason for reason in reasons)
    assert site.numbers(run_id) == alone


def test_workers_are_restarted_one_by_one_without_blame(
    site: Site, alone: Numbers, workers: list[Process]
) -> None:
    run_id = site.queue()
    when(lambda: len(site.measured_by(run_id)) == 2, seconds=PATIENCE)
    for number, machine in enumerate((site.one, site.two)):
        workers[number].ask_to_stop()  # SIGTERM to the parent alone, as KillMode=mixed does
        when(lambda number=number: workers[number].exit_code == 0, seconds=60)  # type: ignore[misc]
        workers[number] = machine.start("worker")
    line = site.ended(run_id)
    assert (line.state, line.attempt) == ("succeeded", 1)
    assert site.numbers(run_id) == alone


def test_what_a_spool_needs_no_more_is_swept_when_a_worker_starts(site: Site) -> None:
    stray = site.two.root / "home" / "spool" / ("0" * 64)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"of nothing")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(stray, (two_days_ago, two_days_ago))
    worker = site.two.start("worker")
    try:
        when(lambda: not stray.exists(), seconds=PATIENCE)
    finally:
        worker.stop()


@pytest.mark.parametrize("command", ["worker", "dispatch"])
@pytest.mark.parametrize(
    ("variable", "secret", "says"),
    [
        ("DATABASE_URL", "WORKER", 'password authentication failed for user "headbook_worker"'),
        ("CELERY_BROKER_URL", "BROKER", "invalid username-password pair"),
    ],
)
def test_a_wrong_password_is_told_at_the_start(
    site: Site, command: str, variable: str, secret: str, says: str
) -> None:
    given = site.one.environment[variable]
    wrong = given.replace(site.servers.secrets[secret], "mistyped")
    done = site.one.run(command, **{variable: wrong})
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert says in done.stderr
    assert variable in done.stderr
    assert "mistyped" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_reader_and_an_empty_database_are_told_at_the_start(site: Site, readers: None) -> None:
    reader = site.servers.database_url().replace(
        f"headbook_worker:{site.servers.secrets['WORKER']}", "headbook_reader:readers"
    )
    done = site.one.run("worker", DATABASE_URL=reader)
    assert (done.returncode, "permission denied" in done.stderr) == (1, True)
    with connect(reader) as connection:
        connection.execute("SELECT count(*) FROM results.head_scores")
    nothing_there = site.owner_url.removesuffix("headbook") + "mlflow"
    done = site.one.run("worker", DATABASE_URL=nothing_there)
    assert (done.returncode, "permission denied for database" in done.stderr) == (1, True)


def test_a_member_of_a_role_logs_in_as_themselves(site: Site, readers: None) -> None:
    with connect(site.owner_url) as connection:
        connection.execute("CREATE ROLE ada LOGIN PASSWORD 'adas' IN ROLE headbook_reader")
    ada = site.owner_url.replace(f"headbook_owner:{site.servers.secrets['OWNER']}", "ada:adas")
    with connect(ada) as connection:
        connection.execute("SELECT count(*) FROM results.head_scores")


def test_only_the_owner_changes_schema_and_passwords(site: Site) -> None:
    said = "The database schema is up to date.\n"
    assert site.one.headbook("db", "upgrade") == said  # nothing is to be changed
    done = site.one.run("db", "password", "headbook_worker", given="mine\n")
    assert done.returncode == 1
    assert "This user may not set the password of headbook_worker" in done.stderr


def test_the_app_is_served_alone(site: Site) -> None:
    port = ports.free()
    app = site.two.start("app", HEADBOOK_APP_PORT=str(port))
    try:
        when(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), seconds=PATIENCE)
        listening = [
            each.laddr.ip
            for each in psutil.Process(app.pid).net_connections("tcp")
            if each.status == "LISTEN"
        ]
        assert listening == ["127.0.0.1"]
    finally:
        app.stop()
