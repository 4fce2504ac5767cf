"""`python -m migrations.drift`: check that migrations, tables and schema.sql agree.

Alembic does not compare triggers, views, grants and CHECKs, so this also compares a dump of the
schema with schema.sql. `--write` updates schema.sql.
"""

import difflib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import make_url

from tracker.database import postgres_session, schema
from tracker.home.home import Home
from tracker.settings import environment
from tracker.supervisor import binaries, postgres_place
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.provision import OWNER

EXPECTED = Path(__file__).with_name("schema.sql")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="headbook-drift-") as folder:
        home = Home(Path(folder))
        postgres = EmbeddedPostgres(home, settings={"fsync": "off"})
        try:
            postgres.start()
            url = postgres.url("headbook", OWNER)
            schema.upgrade(url)
            problems = compare_tables(url) + compare_dump(dump(url), write="--write" in sys.argv)
        finally:
            postgres.stop()
            postgres_place.remove(home)
    sys.stderr.write("".join(problems))
    return 1 if problems else 0


def compare_tables(url: str) -> list[str]:
    """The differences between the migrated schema and the tables in tracker/tables."""
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", "migrations:")
    engine = postgres_session.engine(url)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.check(config)
    except CommandError as error:
        return [f"{error}\nWrite a migration: alembic revision --autogenerate -m …\n"]
    finally:
        engine.dispose()
    return []


def dump(url: str) -> str:
    """The schema as written by pg_dump, without lines that differ between servers."""
    where = make_url(url)
    query: dict[str, Any] = dict(where.query)
    result = subprocess.run(
        [
            *(binaries.postgres() / "pg_dump", "--schema-only", "--no-owner"),
            *("--schema=headbook", "--schema=results", "--restrict-key=drift"),
        ],
        env=environment.made(os.environ)
        | {
            "PGHOST": query["host"],
            "PGPORT": query["port"],
            "PGUSER": where.username or "",
            "PGPASSWORD": str(where.password),
            "PGDATABASE": where.database or "",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    server_specific = re.compile(r"--|SET |SELECT pg_|\\|(GRANT|REVOKE) .* ON LANGUAGE")
    kept = [line for line in result.stdout.splitlines() if not server_specific.match(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip() + "\n"


def compare_dump(actual: str, *, write: bool) -> list[str]:
    """The differences between schema.sql and the dump; with `write`, update schema.sql."""
    if write:
        EXPECTED.write_text(actual)
        return []
    expected = EXPECTED.read_text() if EXPECTED.exists() else ""
    lines = difflib.unified_diff(
        expected.splitlines(keepends=True),
        actual.splitlines(keepends=True),
        "migrations/schema.sql",
        "schema made by the migrations",
    )
    diff = list(lines)
    return [*diff, "Update it with: python -m migrations.drift --write\n"] if diff else []


if __name__ == "__main__":
    sys.exit(main())
