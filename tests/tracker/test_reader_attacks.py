"""Every attack that a reader can make ends as it should, within bounds, and leaves nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from plain_connection import connect

from tracker.supervisor.postgres import ADDRESS_SPACE

from .reader_attacks import ALL, Attack
from .readers import Cluster, provisioned

pytestmark = [
    pytest.mark.attack(31, "statements of a reader"),
    pytest.mark.xdist_group("reader attacks"),
]

# What is there of everything that an attack might have made, or kept.
STATE = """
SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc),
  (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_database),
  (SELECT array_agg(rolname || rolconnlimit || rolsuper) FROM pg_roles),
  (SELECT array_agg(setconfig::text ORDER BY setrole) FROM pg_db_role_setting),
  (SELECT array_agg(rolpassword ORDER BY rolname) FROM pg_authid),
  (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_auth_members),
  (SELECT sum(hashtext(relacl::text)) FROM pg_class), pg_notification_queue_usage()
"""
HELD = """
SELECT count(*) FROM pg_locks AS held JOIN pg_stat_activity AS a USING (pid)
WHERE usename = 'headbook_reader'
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with provisioned(tmp_path_factory.mktemp("attacked") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def watcher(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A superuser who looks on."""
    with connect(cluster.admin) as connection:
        yield connection


@pytest.fixture(scope="module")
def before(watcher: psycopg.Connection[Any]) -> tuple[Any, ...] | None:
    return watcher.execute(STATE).fetchone()


def peak(pid: int) -> int:
    """Bytes that the session has had in memory, those which all share included."""
    if sys.platform != "linux":
        return 0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found) * 1024


def run(connection: psycopg.Connection[Any], statement: str) -> None:
    if statement.startswith("COPY") and statement.endswith("STDOUT"):
        with connection.cursor().copy(statement) as copy:
            for _ in copy:
                pass
    else:
        connection.execute(statement, prepare=False)


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: f"{attack.kind}: {attack.sql[-1][:60]}")
def test_an_attack_ends_within_bounds_and_leaves_nothing(
    cluster: Cluster,
    watcher: psycopg.Connection[Any],
    before: tuple[Any, ...],
    attack: Attack,
) -> None:
    state = None
    with cluster.reader() as connection:
        try:
            for statement in attack.sql:
                run(connection, statement)
        except psycopg.Error as error:
            state = error.sqlstate
        assert peak(connection.info.backend_pid) < ADDRESS_SPACE
        (locks,) = watcher.execute(HELD).fetchone() or (0,)
    assert (state or "passed").startswith(attack.refused or "passed")
    assert locks < 500
    assert watcher.execute(STATE).fetchone() == before


def test_there_are_attacks_enough_and_none_twice() -> None:
    assert len({attack.sql for attack in ALL}) == len(ALL) > 150
