"""What holds of readers whatever they set, and what they go on being able to do."""

import csv
import io
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from plain_connection import connect
from second_user import OTHER, as_other, only_root
from sqlalchemy import create_engine, inspect, make_url, text
from waits import when

from tracker.database import db, schema
from tracker.database.rights import guard, hardening, limits
from tracker.database.views import view_files
from tracker.queueing import dispatcher
from tracker.supervisor import binaries
from tracker.supervisor.priorities import LAST, Priorities
from tracker.supervisor.provision import OWNER

from .readers import Cluster, provisioned

pytestmark = pytest.mark.xdist_group("readers")  # its servers start once

READER = "headbook_reader"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with provisioned(tmp_path_factory.mktemp("guarded") / "home") as made:
        yield made


@pytest.fixture
def short(cluster: Cluster) -> Iterator[None]:
    """The same limits of time, in milliseconds where they are in seconds."""
    quick = {
        name: value.replace("0s", "0ms") if value.endswith("s") else value
        for name, value in limits.SETTINGS.items()
    }
    cluster.ask(guard.wanted(quick, limits.FIXED_SETTINGS))
    yield
    cluster.ask(guard.wanted(limits.SETTINGS, limits.FIXED_SETTINGS))
    cluster.postgres.provide()


def tended(cluster: Cluster) -> int:
    """How many sessions the dispatcher ends at one look, as the worker's role."""
    sessions = db.connect(cluster.postgres.url("headbook", "headbook_worker"))
    try:
        return dispatcher.tend_readers(sessions)
    finally:
        db.close(sessions)


def lives(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def ended_by(cluster: Cluster, connection: psycopg.Connection[Any]) -> None:
    pid = connection.info.backend_pid
    there = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"
    when(lambda: tended(cluster) >= 0 and cluster.ask(there) == [(0,)], seconds=20)


# Rights


def test_nothing_with_an_effect_stands_open_to_everybody(cluster: Cluster) -> None:
    for _ in range(2):
        with connect(cluster.admin) as connection:
            assert hardening.is_hardened(connection)
            public = connection.execute(
                "SELECT proname FROM pg_proc WHERE has_function_privilege('public', oid, 'EXECUTE')"
                " AND proname ~ '^(pg_.*advisory.*|lo_.*|lo(read|write)|.*notify|pg_sleep.*|setval"
                "|pg_(terminate|cancel)_backend|set_config|nextval|.*(xact_id|txid_current)"
                "|pg_stat_get_activity|query_to_xml.*|pg_(read|ls)_.*|pg_.*slot.*)$'"
                " AND proname !~ '_(if_assigned|snapshot)$|^pg_notification|stat'"
            ).fetchall()
        assert public == []
        cluster.postgres.provide()


@pytest.mark.parametrize(
    "opened",
    [
        "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO PUBLIC",
        "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
        "GRANT TEMPORARY ON DATABASE headbook TO PUBLIC",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "CREATE FUNCTION results.mine() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1'",
        "DROP SCHEMA headbook_guard CASCADE",
        f"REVOKE EXECUTE ON FUNCTION set_config(text, text, boolean) FROM {OWNER}",
    ],
)
def test_what_somebody_opened_is_closed_at_the_next_start(cluster: Cluster, opened: str) -> None:
    cluster.ask(opened)
    with connect(cluster.admin) as connection:
        assert not hardening.is_hardened(connection)
        cluster.postgres.provide()
        assert hardening.is_hardened(connection)
        connection.execute("DROP FUNCTION IF EXISTS results.mine()")


def test_the_tables_belong_to_no_superuser_also_in_a_home_of_before(cluster: Cluster) -> None:
    owners = (
        "SELECT DISTINCT relowner::regrole::text FROM pg_class AS c JOIN pg_namespace AS n"
        " ON n.oid = relnamespace WHERE nspname IN ('headbook', 'results')"
    )
    assert cluster.ask(owners) == [(OWNER,)]
    for statement in (
        "ALTER TABLE headbook.run OWNER TO postgres",
        "ALTER VIEW results.head_scores OWNER TO postgres",
        "ALTER SCHEMA headbook OWNER TO postgres",
        "ALTER DATABASE headbook OWNER TO postgres",
        "ALTER FUNCTION headbook.guard_run OWNER TO postgres",
    ):
        cluster.ask(statement)
    cluster.postgres.provide()
    assert cluster.ask(owners) == [(OWNER,)]
    assert cluster.ask(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{OWNER}'") == [(False,)]
    schema.migrate(cluster.postgres.url("headbook", OWNER), "base")
    schema.upgrade(cluster.postgres.url("headbook", OWNER))


# The guard


@pytest.mark.parametrize(
    "changed",
    [
        "ALTER ROLE headbook_reader SET search_path = 'public'",
        "ALTER ROLE headbook_reader SET statement_timeout = 1",
        "ALTER ROLE headbook_reader SET DateStyle = 'German'",
        "ALTER ROLE headbook_reader SET local_preload_libraries = 'nothing'",
        "ALTER ROLE headbook_reader SET client_min_messages = 'debug5'",
        "ALTER ROLE headbook_reader RESET ALL",
        "ALTER ROLE headbook_reader IN DATABASE headbook SET DateStyle = 'German'",
        "ALTER ROLE headbook_reader PASSWORD 'mine'",
        "ALTER ROLE headbook_reader PASSWORD NULL",
    ],
)
def test_what_a_reader_changed_of_the_role_is_taken_back(cluster: Cluster, changed: str) -> None:
    facts = (
        "SELECT rolname, rolpassword, setdatabase, setconfig FROM pg_authid"
        f" LEFT JOIN pg_db_role_setting ON setrole = pg_authid.oid WHERE rolname = '{READER}'"
    )
    before = cluster.ask(facts)
    with cluster.reader() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(changed)
    assert cluster.ask(facts) != before
    tended(cluster)
    assert cluster.ask(facts) == before
    with cluster.reader() as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("results",)


def test_the_next_login_is_as_it_should_be_even_before_that(cluster: Cluster) -> None:
    with cluster.reader() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER ROLE {READER} SET search_path = 'public'")
        connection.execute(f"ALTER ROLE {READER} SET statement_timeout = 0")
    with cluster.reader() as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("results",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("1min",)
    tended(cluster)


def test_a_fault_in_what_happens_at_login_keeps_nobody_out(cluster: Cluster) -> None:
    cluster.ask("DROP FUNCTION headbook_guard.known CASCADE")
    with cluster.reader() as connection:
        connection.execute("SELECT count(*) FROM results.head_scores")
    cluster.ask("COMMENT ON SCHEMA headbook_guard IS 'of another version'")
    cluster.postgres.provide()


@pytest.mark.parametrize(
    "long",
    [
        ["BEGIN"],
        ["BEGIN", "SELECT count(*) FROM results.head_scores"],
        ["BEGIN", "DECLARE c CURSOR FOR SELECT 1"],
        ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM results.run_logs"],
        ["BEGIN", "SELECT 1/0"],
        ["LISTEN a"],  # stands idle for an hour
        ["BEGIN READ WRITE", f"ALTER ROLE {READER} SET search_path = 'public'"],
        ["BEGIN", "LOCK TABLE results.head_scores IN ACCESS SHARE MODE"],
    ],
)
def test_a_session_that_stands_for_too_long_is_ended(
    cluster: Cluster, short: None, long: list[str]
) -> None:
    with cluster.reader() as connection:
        for limit in limits.SETTINGS:
            if limit.endswith("timeout"):
                connection.execute(f"SET {limit} = 0")
        for statement in long:
            try:
                connection.execute(statement)
            except psycopg.errors.DivisionByZero:
                continue
        ended_by(cluster, connection)
        assert not lives(connection)


def test_a_statement_that_runs_for_too_long_is_ended(cluster: Cluster, short: None) -> None:
    with cluster.reader() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("SET statement_timeout = 0; SET transaction_timeout = 0")
        endless = "SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c"
        running = pool.submit(connection.execute, endless)
        ended_by(cluster, connection)
        with pytest.raises(psycopg.errors.AdminShutdown):
            running.result(20)


def test_nobody_else_is_ended(cluster: Cluster, short: None) -> None:
    roles = ("headbook_worker", OWNER, "postgres")
    with ExitStack() as stack:
        others = [stack.enter_context(connect(cluster.url(role))) for role in roles]
        for other in others:
            other.execute("BEGIN")
        with cluster.reader() as connection:
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.execute("SET transaction_timeout = 0")
            connection.execute("BEGIN")
            ended_by(cluster, connection)
            assert not lives(connection)
        assert all(lives(other) for other in others)


@pytest.mark.parametrize(
    "held",
    [
        "SELECT count(*) FROM results.head_scores",
        "LOCK TABLE results.head_scores IN ACCESS SHARE MODE",
    ],
)
def test_a_reader_that_stands_in_the_way_of_a_migration_is_ended(
    cluster: Cluster, held: str
) -> None:
    owner = cluster.postgres.url("headbook", OWNER)
    schema.migrate(owner, "base")
    schema.migrate(owner, "0014")
    with cluster.reader() as connection, connect(cluster.url("headbook_worker")) as worker:
        connection.execute("BEGIN")
        connection.execute(held)
        schema.upgrade(owner)
        assert not lives(connection)
        assert lives(worker)


def test_a_reader_that_stands_in_the_way_of_changed_views_is_ended(cluster: Cluster) -> None:
    cluster.ask("UPDATE headbook.view_file SET sha256 = 'of another version'")
    with cluster.reader() as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM results.runs")
        schema.upgrade(cluster.postgres.url("headbook", OWNER))
        assert not lives(connection)
    assert cluster.ask("SELECT count(*) FROM results.runs", READER) == [(0,)]


# Connections, memory, processors


def test_readers_leave_connections_to_who_works(cluster: Cluster) -> None:
    people = [f"person_{number}" for number in range(40)]
    with connect(cluster.url(OWNER)) as owner, ExitStack() as stack:
        for name in people:
            owner.execute(
                f"CREATE ROLE {name} LOGIN PASSWORD 'x' CONNECTION LIMIT 2 IN ROLE {READER}"
            )
        got, refused = 0, 0
        for name in [READER] * 20 + people * 3:
            url = make_url(cluster.url()).set(username=name)
            if name != READER:
                url = url.set(password="x")
            try:
                stack.enter_context(connect(url.render_as_string(hide_password=False)))
                got += 1
            except psycopg.OperationalError:
                refused += 1
        # Of 180, 100 are reserved, 3 are the superuser's, and one is the owner's.
        assert (got, refused) == (76, 64)
        for _ in range(40):
            stack.enter_context(connect(cluster.url("headbook_worker")))
    with connect(cluster.url(OWNER)) as owner:
        for name in people:
            owner.execute(f"DROP ROLE {name}")


def test_people_with_logins_of_their_own_have_the_limits_and_do_not_see_each_other(
    cluster: Cluster,
) -> None:
    cluster.ask(f"CREATE ROLE ada LOGIN PASSWORD 'x' CONNECTION LIMIT 2 IN ROLE {READER}", OWNER)
    url = make_url(cluster.url()).set(username="ada", password="x")
    with connect(url.render_as_string(hide_password=False)) as ada:
        for name in ("search_path", "temp_file_limit", "log_min_messages"):
            wanted = (limits.SETTINGS | limits.FIXED_SETTINGS)[name]
            assert ada.execute(f"SHOW {name}").fetchone() == (wanted,)
        ada.execute("SELECT count(*) FROM results.head_scores")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ada.execute("SELECT query FROM pg_stat_activity")
    cluster.ask("DROP ROLE ada", OWNER)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc of Linux")
def test_only_readers_sessions_compute_last(cluster: Cluster) -> None:
    server = cluster.postgres._process
    assert server is not None
    priorities = Priorities()
    with cluster.reader() as reader, connect(cluster.url("headbook_worker")) as worker:
        priorities.tend(server.pid, owner=server.command.owner)
        assert os.getpriority(os.PRIO_PROCESS, reader.info.backend_pid) == LAST
        assert os.getpriority(os.PRIO_PROCESS, worker.info.backend_pid) != LAST
        assert os.getpriority(os.PRIO_PROCESS, server.pid) != LAST


@only_root
@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="needs groups of sessions")
def test_an_ordinary_user_puts_readers_last_that_begin_at_once() -> None:
    """The kernel lets such a user change one group in a tenth of a second."""
    title = "postgres: headbook_reader headbook [local] idle"
    as_theirs: Any = {"user": OTHER.pw_uid, "group": OTHER.pw_gid, "extra_groups": []}
    sessions = [
        subprocess.Popen(
            [title, "60"], executable="/bin/sleep", start_new_session=True, **as_theirs
        )
        for _ in range(4)
    ]
    priorities = Priorities()

    def all_are_last() -> bool:
        with as_other():
            priorities.tend(os.getpid())
        groups = [Path(f"/proc/{each.pid}/autogroup").read_text() for each in sessions]
        return all(group.endswith(f"nice {LAST}\n") for group in groups)

    try:
        when(all_are_last)
    finally:
        for each in sessions:
            each.kill()
            each.wait()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc of Linux")
def test_a_part_stores_a_tensor_larger_than_the_memory_of_a_reader(cluster: Cluster) -> None:
    server = cluster.postgres._process
    assert server is not None
    large = "SELECT octet_length(repeat('x', 400 * 1024 * 1024))"  # as a tensor is in its session
    with cluster.reader() as reader, connect(cluster.url("headbook_worker")) as worker:
        Priorities().tend(server.pid, owner=server.command.owner)
        assert worker.execute(large).fetchone() == (400 * 2**20,)
        with pytest.raises(psycopg.errors.OutOfMemory):
            reader.execute(large)


# What readers are for


def test_a_notebook_reads_and_a_reader_takes_a_file(cluster: Cluster) -> None:
    engine = create_engine(cluster.postgres.url("headbook", READER))
    with engine.connect() as connection:
        frame = pd.read_sql(text("SELECT * FROM head_scores"), connection)
        assert {"layer", "head", "mean"} <= set(frame.columns)
        found = inspect(connection)
        assert set(found.get_view_names("results")) == {file.name for file in view_files()}
        assert found.get_columns("head_scores", schema="results")
        assert found.get_schema_names()
    engine.dispose()
    with cluster.reader() as plain:
        written = io.BytesIO()
        with plain.cursor().copy("COPY (SELECT 1 AS a, 'b' AS b) TO STDOUT (FORMAT csv)") as copy:
            for block in copy:
                written.write(block)
        assert list(csv.reader(io.StringIO(written.getvalue().decode()))) == [["1", "b"]]
        assert plain.execute("EXPLAIN SELECT * FROM head_scores").fetchall()


@pytest.mark.parametrize(
    "command",
    [r"\d+ results.*", r"\dv+", r"\dn+", r"\du", r"\df results.*", r"\dp results.*", r"\drds",
     r"\l+", r"\dt+ *.*", r"\sv results.head_scores", r"\conninfo", r"\dconfig+ work_mem"],
)  # fmt: skip
def test_the_commands_of_psql_describe_the_database(cluster: Cluster, command: str) -> None:
    done = subprocess.run(
        [binaries.postgres() / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", command],
        env={"PGSERVICEFILE": "/dev/null", **connection_of(cluster.url())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.role_table_grants",
        "SELECT pg_get_viewdef(oid, true), pg_total_relation_size(oid) FROM pg_class"
        " WHERE relkind = 'v'",
        "SELECT *, pg_encoding_to_char(encoding), pg_is_in_recovery() FROM pg_database",
        "SELECT current_user, session_user, version(), pg_backend_pid(), random()",
        "SELECT gen_random_uuid(), clock_timestamp(), now()",
    ],
)
def test_tools_that_look_around_are_answered(cluster: Cluster, asked: str) -> None:
    assert cluster.ask(asked, READER)


def test_the_owner_takes_a_backup_that_a_fresh_database_takes_in(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "headbook.dump"
    environment = connection_of(cluster.url(OWNER))
    ours = ("--schema=headbook", "--schema=results")
    dump = (str(binaries.postgres() / "pg_dump"), "--format=custom", f"--file={file}", *ours)
    subprocess.run(dump, env=environment, check=True)
    with connect(cluster.admin) as connection:
        connection.execute(f"CREATE DATABASE restored OWNER {OWNER}")
        try:
            again = (binaries.postgres() / "pg_restore", "--exit-on-error", "--dbname=restored")
            subprocess.run([*again, str(file)], env=environment, check=True, capture_output=True)
        finally:
            connection.execute("DROP DATABASE restored")


def connection_of(url: str) -> dict[str, str]:
    """As the tools of Postgres take it."""
    where = make_url(url)
    return {
        "PGHOST": str(where.query["host"]),
        "PGPORT": str(where.query["port"]),
        "PGUSER": str(where.username),
        "PGPASSWORD": str(where.password),
        "PGDATABASE": str(where.database),
    }
