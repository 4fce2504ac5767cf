"""`headbook db harden` on a server that somebody else runs, set up as docs/deploy.md says."""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
from cluster import of_page
from plain_connection import connect, plain
from sqlalchemy import make_url
from typer.testing import CliRunner
from waits import when

from tracker.cli import app
from tracker.cli.databases import NotHardened
from tracker.database import roles
from tracker.database.rights import hardening
from tracker.home.home import Home
from tracker.supervisor import binaries, postgres_place, waiting
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.process import Process

OWNER = "headbook_owner"

pytestmark = pytest.mark.servers


@dataclass
class Server:
    """Its administrator has run the page's SQL; every password is `secret`."""

    admin: str

    def url(self, role: str) -> str:
        url = make_url(self.admin)
        return url.set(username=role, password="secret").render_as_string(hide_password=False)

    def headbook(self, *words: str, url: str, given: str = "") -> str:
        ran = CliRunner().invoke(
            app, ["db", *words], input=given, env={"DATABASE_URL": url}, catch_exceptions=False
        )
        return ran.output


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = Home(tmp_path_factory.mktemp("outside"))
    postgres = EmbeddedPostgres(home, settings={"fsync": "off"})
    process = Process(postgres.prepare())
    try:
        waiting.until(postgres.ready, process=process, seconds=60)
        with connect(postgres.url("postgres")) as connection:
            for statement in re.sub(r"<\w+ PASSWORD>", "secret", of_page("sql")).split(";")[:-1]:
                connection.execute(statement)
        yield Server(plain(postgres.url("headbook")))
    finally:
        process.stop()
        postgres_place.remove(home)


def test_an_owner_does_what_it_may_and_the_administrator_the_rest(server: Server) -> None:
    owner = server.url(OWNER)
    assert "headbook db harden --print" in server.headbook("upgrade", url=owner)
    with pytest.raises(NotHardened, match="harden --print"):
        server.headbook("harden", url=owner)
    script = server.headbook("harden", "--print", url=owner)
    psql = (binaries.postgres() / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", server.admin)
    for _ in range(2):
        subprocess.run(psql, input=script, text=True, check=True, capture_output=True)
        with connect(owner) as connection:
            assert hardening.is_hardened(connection)
    assert "administrator" not in server.headbook("upgrade", url=owner)
    server.headbook("password", "headbook_reader", url=owner, given="secret\n")
    with connect(server.url("headbook_reader")) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT pg_advisory_lock(1)")
        reader.execute("SET default_transaction_read_only = off")
        reader.execute("ALTER ROLE headbook_reader PASSWORD 'mine'")
    server.headbook("harden", url=server.admin)
    with connect(owner) as connection:
        connection.execute("SELECT headbook_guard.tend()")
    connect(server.url("headbook_reader")).close()


def test_a_password_that_is_older_than_the_guard_is_put_back_too(server: Server) -> None:
    server.headbook("upgrade", url=server.url(OWNER))
    server.headbook("password", "headbook_reader", url=server.url(OWNER), given="secret\n")
    server.headbook("harden", url=server.admin)
    with connect(server.url("headbook_reader")) as reader:
        reader.execute("SET default_transaction_read_only = off")
        reader.execute("ALTER ROLE headbook_reader PASSWORD 'mine'")
    with connect(server.url(OWNER)) as connection:
        connection.execute("SELECT headbook_guard.tend()")
    connect(server.url("headbook_reader")).close()


WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def test_a_role_that_another_command_changes_at_the_same_time_is_changed_next(
    server: Server,
) -> None:
    """As a command for another database of the server does: roles are those of all databases."""
    server.headbook("upgrade", url=server.url(OWNER))
    change = {
        "ALTER ROLE headbook_reader CONNECTION LIMIT 5": lambda: roles.give_password(
            server.admin, "headbook_reader", "secret"
        ),
        "CREATE ROLE headbook_auditor": lambda: roles.give_password(
            server.admin, "headbook_auditor", "secret"
        ),
        "GRANT pg_use_reserved_connections TO headbook_worker": lambda: roles.harden(server.admin),
    }
    with (
        connect(server.admin) as watcher,
        connect(server.admin) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        for statement, command in change.items():
            with other.transaction():
                other.execute(statement)
                asked = pool.submit(command)
                when(lambda: watcher.execute(WAITING).fetchone())
            asked.result(30)
        assert hardening.is_hardened(watcher)
    for role in ("headbook_reader", "headbook_auditor"):
        connect(server.url(role)).close()


PLANTED = """
CREATE FUNCTION public.rise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  ALTER ROLE headbook_owner SUPERUSER; RETURN new; EXCEPTION WHEN OTHERS THEN RETURN new; END $$;
CREATE FUNCTION public.obj_description(regnamespace, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
  ALTER ROLE headbook_owner SUPERUSER; RETURN ''; EXCEPTION WHEN OTHERS THEN RETURN ''; END $$;
CREATE SCHEMA headbook_guard;
CREATE TABLE headbook_guard.login (role name PRIMARY KEY, verifier text NOT NULL);
CREATE TRIGGER rise BEFORE INSERT ON headbook_guard.login
  FOR EACH ROW EXECUTE FUNCTION public.rise()
"""


def test_an_administrator_runs_nothing_that_an_owner_has_planted(server: Server) -> None:
    server.headbook("upgrade", url=server.url(OWNER))
    with connect(server.url(OWNER)) as owner:
        owner.execute("DROP SCHEMA headbook_guard CASCADE")
        owner.execute(PLANTED)
    server.headbook("password", "headbook_reader", url=server.admin, given="secret\n")
    server.headbook("harden", url=server.admin)
    server.headbook("password", "headbook_reader", url=server.admin, given="secret\n")
    with connect(server.admin) as admin:
        assert (
            admin.execute(
                "SELECT rolname FROM pg_roles WHERE rolsuper AND rolname <> 'postgres'"
            ).fetchall()
            == []
        )
