"""A cluster that is made as the stack makes it, for tests of what readers can do to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from plain_connection import connect, plain

from tracker.database import schema
from tracker.home.home import Home
from tracker.supervisor import postgres_place
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.provision import OWNER


@dataclass(frozen=True)
class Cluster:
    postgres: EmbeddedPostgres

    def url(self, role: str = "headbook_reader") -> str:
        return plain(self.postgres.url("headbook", role))

    @property
    def admin(self) -> str:
        return plain(self.postgres.url("headbook", "postgres"))

    def ask(self, statement: str, role: str = "postgres") -> list[tuple[Any, ...]]:
        with connect(self.url(role)) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def reader(self) -> Iterator[psycopg.Connection[Any]]:
        with connect(self.url()) as connection:
            yield connection


@contextmanager
def provisioned(folder: Path) -> Iterator[Cluster]:
    home = Home(folder)
    home.root.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(home, settings={"fsync": "off"})
    postgres.start()
    try:
        schema.upgrade(postgres.url("headbook", OWNER))
        yield Cluster(postgres)
    finally:
        postgres.stop()
        postgres_place.remove(home)
