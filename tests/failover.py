"""A database that may only be read for a moment, as while a standby takes over."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from plain_connection import cut_all, plain
from sqlalchemy import Engine, event

_WRITES = "-c default_transaction_read_only=off"


def _alter(url: str, what: str) -> None:
    with psycopg.connect(plain(url), autocommit=True, options=_WRITES) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} {what}")


def begin(url: str) -> None:
    """From now on nothing can be written; the sessions that are open are ended."""
    _alter(url, "SET default_transaction_read_only = on")
    cut_all(url)


def end(url: str) -> None:
    """New sessions may write; those that were opened meanwhile stay as they are."""
    _alter(url, "RESET default_transaction_read_only")


@contextmanager
def read_only_until_refused(url: str, *, times: int = 2) -> Iterator[None]:
    """Nothing can be written before so many writes of this process were refused."""
    refused = threading.Semaphore(0)
    ended = threading.Event()

    def count(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "25006":
            refused.release()

    def wait() -> None:
        for _ in range(times):
            refused.acquire()
        end(url)
        ended.set()

    event.listen(Engine, "handle_error", count)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        begin(url)
        yield
        assert ended.is_set(), f"fewer than {times} writes were refused"
    finally:
        event.remove(Engine, "handle_error", count)
        for _ in range(times):
            refused.release()
        thread.join()


@contextmanager
def closed_until_missed(url: str, admin: str) -> Iterator[None]:
    """Nobody gets in, and who was in is put out, before this process has tried to connect."""
    missed = threading.Event()

    def notice(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) is None:  # no session came about
            missed.set()

    def wait() -> None:
        missed.wait()
        _let_in(url, admin, True)

    event.listen(Engine, "handle_error", notice)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        _let_in(url, admin, False)
        yield
        assert missed.wait(30)
    finally:
        event.remove(Engine, "handle_error", notice)
        missed.set()
        thread.join()


def _let_in(url: str, admin: str, how: bool) -> None:
    name = psycopg.conninfo.conninfo_to_dict(plain(url))["dbname"]
    with psycopg.connect(plain(admin), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {how}")
        if not how:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(ended, [name])
