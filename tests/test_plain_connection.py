"""The database of a test worker is empty, and nobody is connected to it, before the next test."""

from contextlib import closing

import psycopg
from plain_connection import connect, cut_all, empty, plain, still_connected
from psycopg.conninfo import make_conninfo
from stored_runs import add_model

from tracker.database.db import Sessions, transaction
from tracker.store import models


def test_who_stays_connected_is_named(database_url: str) -> None:
    assert still_connected(database_url) == []
    address = make_conninfo(plain(database_url), application_name="a worker that goes on")
    with closing(psycopg.connect(address)) as left:
        left.execute("SELECT 'its last statement'")
        (said,) = still_connected(database_url, seconds=0)
        assert f"{left.info.backend_pid} a worker that goes on: idle in transaction" in said
        assert "SELECT 'its last statement'" in said
        cut_all(database_url)
        assert still_connected(database_url) == []


def test_no_row_is_left(sessions: Sessions, database_url: str) -> None:
    with transaction(sessions) as session:
        add_model(session)
    with connect(database_url) as connection:
        empty(connection)
    with transaction(sessions) as session:
        assert models.all_models(session) == []
        assert add_model(session).id == 1
