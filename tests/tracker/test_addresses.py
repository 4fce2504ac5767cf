"""Addresses with several hosts, and with a name and a password, lead where they say."""

import http.client
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import psycopg
import pytest
from plain_connection import plain
from postgres_speaker import refusing
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url, text
from stored_runs import detail, whole

from tracker.database import db, schema
from tracker.database.db import Sessions, transaction
from tracker.database.postgres_session import BadDatabaseUrl
from tracker.publishing import mlflow_runs, publication
from tracker.publishing.mlflow_errors import MlflowLoginRefused
from tracker.secrets import logins
from tracker.secrets.urls import with_psycopg, without_password, without_psycopg
from tracker.supervisor import ports, reachability
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

NAME, PASSWORD = "ada", "p@ss/w%rd"
WRITTEN = "ada:p%40ss%2Fw%25rd"


@pytest.mark.parametrize(
    ("given", "hosts", "port"),
    [
        ("postgresql://me:a%40b@h1,h2/db", "h1,h2", ","),
        ("postgres://me:a%40b@h1:5433,h2:5434/db?sslmode=prefer", "h1,h2", "5433,5434"),
        ("postgresql://me:a%40b@h1:5433,[::1]:5434/db", "h1,::1", "5433,5434"),
        ("postgresql://me:a%40b@h1:5433/db?sslmode=prefer", "h1", "5433"),
    ],
)
def test_several_hosts_are_the_same_to_sqlalchemy_and_to_libpq(
    given: str, hosts: str, port: str
) -> None:
    sessions = db.connect(with_psycopg(given))
    for asked in (db._conninfo(sessions), without_psycopg(with_psycopg(given)), given):
        found = conninfo_to_dict(asked)
        assert (found["user"], found["password"], found["dbname"]) == ("me", "a@b", "db")
        assert found["host"] == hosts
        assert str(found.get("port", ",")).replace("5432,5432", ",") == port
    db.close(sessions)


def test_the_host_that_can_be_written_to_is_found_among_several(
    sessions: Sessions, database_url: str
) -> None:
    url = make_url(database_url)
    socket = str(url.query["host"]).replace("/", "%2F")
    with refusing("57P03", "das Datenbanksystem startet") as starting:
        hosts = f"127.0.0.1:{ports.free()},127.0.0.1:{starting},{socket}:{url.query['port']}"
        given = (
            f"postgresql://{url.username}:{url.password}@{hosts}/{url.database}"
            "?target_session_attrs=read-write&sslmode=disable"
        )
        schema.upgrade(with_psycopg(given))
        found = db.connect(with_psycopg(given))
        with transaction(found) as session:
            assert session.scalars(text("SELECT current_database()")).one() == url.database
        db.check(found)
        db.close(found)
        reachability.check_database(given)
        with psycopg.connect(plain(without_psycopg(with_psycopg(given)))) as connection:
            assert connection.info.dbname == url.database
    assert str(url.password) not in without_password(with_psycopg(given))


class _Guarded(BaseHTTPRequestHandler):
    """Passes on to MLflow what comes with the right login."""

    mlflow: str
    login = "Basic " + b64encode(f"{NAME}:{PASSWORD}".encode()).decode()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != self.login:
            self._answer(401, b"nein", {})
            return
        address, login = logins.apart(self.mlflow)
        place = urlsplit(address).netloc
        connection = http.client.HTTPConnection(place)
        sent = dict(self.headers.items()) | (login.header if login else {})
        connection.request(self.command, self.path, body, {**sent, "Host": place})
        found = connection.getresponse()
        content = found.read()
        connection.close()
        self._answer(found.status, content, {"Content-Type": found.getheader("Content-Type", "")})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def test_a_port_that_is_none_is_refused_and_no_other_host_is_asked() -> None:
    with pytest.raises(BadDatabaseUrl):
        db.connect(with_psycopg("postgresql://me@h1:x,h2:5432/db"))


@pytest.fixture
def guarded(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The place of an MLflow server that lets in who has a login."""
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "nobody")
    handler = type("Handler", (_Guarded,), {"mlflow": mlflow_uri})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_name_and_password_in_mlflows_address_are_what_it_is_asked_with(
    submit: Submit, bench: WorkerContext, sessions: Sessions, guarded: str
) -> None:
    address = f"http://{WRITTEN}@{guarded}"
    reachability.check_tracking(address)
    bench.artifacts.mlflow = publication.mlflow_client(address)
    assert PASSWORD not in bench.artifacts.mlflow.tracking_uri
    run = submit().run
    work(bench, hint=None)
    assert detail(sessions, run.id).line.published
    assert whole(bench, sessions, run.id)


def test_a_wrong_password_of_mlflow_is_told_without_it(
    submit: Submit, sessions: Sessions, guarded: str
) -> None:
    mlflow = publication.mlflow_client(f"http://ada:s3cret@{guarded}")
    with pytest.raises(MlflowLoginRefused) as refused:
        mlflow_runs.ensure_run(mlflow, detail(sessions, submit().run.id))
    assert "MLFLOW_TRACKING_PASSWORD" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_other_addresses_of_mlflow_stay_as_they_are() -> None:
    for uri in ("databricks://profile", "file:///a@b", "http://127.0.0.1:5000"):
        assert logins.apart(uri) == (uri, None)
    assert logins.apart("https://ada@host/mlflow") == (
        "https://host/mlflow",
        logins.Login(user="ada", password=""),
    )
