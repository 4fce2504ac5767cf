"""The views of schema `results`: one SQL file each in `migrations/views`, made by every upgrade.

A view that nobody else reads is dropped before the migrations and made after them. One that a view
of somebody else reads stays, and is replaced. `headbook.view_file` records what was made.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib import resources

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from tracker.domain import Role
from tracker.errors import TrackerError

RECORD = "view_file"
_READ = re.compile(r"\b(?:FROM|JOIN)\s+results\.(\w+)", re.IGNORECASE)
_STILL_READ = "2BP01"
# What a view that stays in place for its readers forbids: to change its columns, or those below.
_IN_THE_WAY = (_STILL_READ, "0A000", "42P16")

_READERS = """
SELECT DISTINCT format('%I.%I', nspname, reader.relname)
FROM pg_depend
JOIN pg_rewrite ON pg_rewrite.oid = objid AND classid = 'pg_rewrite'::regclass
JOIN pg_class AS reader ON reader.oid = ev_class
JOIN pg_namespace AS n ON n.oid = reader.relnamespace
JOIN pg_class AS view ON view.oid = refobjid AND refclassid = 'pg_class'::regclass
WHERE view.relnamespace = to_regnamespace('results') AND view.relname = ANY(:ours)
  AND NOT (reader.relnamespace = view.relnamespace AND reader.relname = ANY(:ours))
ORDER BY 1
"""

_RIGHTS = """
SELECT relname, format('GRANT %s ON results.%I TO %s', privilege_type, relname,
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
  || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)
WHERE relnamespace = to_regnamespace('results') AND relname = ANY(:ours) AND grantee <> relowner
"""


class ViewsInUse(TrackerError):
    def __init__(self, readers: Iterable[str]) -> None:
        super().__init__(
            f"The views of schema results cannot be changed while others read them: "
            f"{', '.join(readers)}. Drop those, run `headbook db upgrade`, and create them again. "
            "Nothing was changed."
        )


class ViewNameTaken(TrackerError):
    def __init__(self, names: Iterable[str]) -> None:
        taken = ", ".join(f"results.{name}" for name in names)
        super().__init__(
            f"Headbook has a view of its own with the name of another that already exists: {taken}."
            " Rename or drop that one and run `headbook db upgrade` again. Nothing was changed."
        )


@dataclass(frozen=True, kw_only=True)
class ViewFile:
    """A view and its comments, as statements."""

    name: str
    sql: str

    @cached_property
    def sha256(self) -> str:
        return sha256(self.sql.encode()).hexdigest()

    @property
    def reads(self) -> set[str]:
        """The names of the views that it selects from."""
        return set(_READ.findall(self.sql))


def view_files() -> list[ViewFile]:
    """The views of this version, each after those that it reads."""
    files = {
        path.name.removesuffix(".sql"): ViewFile(
            name=path.name.removesuffix(".sql"), sql=path.read_text("utf-8")
        )
        for path in (resources.files("migrations") / "views").iterdir()
        if path.name.endswith(".sql")
    }
    order = TopologicalSorter({name: files[name].reads for name in sorted(files)})
    return [files[name] for name in order.static_order()]


def up_to_date(connection: Connection) -> bool:
    """Whether the views are those of this version; the schema is at its latest revision."""
    made = connection.execute(
        text(
            f"SELECT name, sha256 FROM headbook.{RECORD}"
            " WHERE to_regclass(format('results.%I', name)) IS NOT NULL"
        )
    )
    found: dict[str, str] = dict(made.all())
    return found == {file.name: file.sha256 for file in view_files()}


@contextmanager
def made_anew(connection: Connection, is_newest: Callable[[], bool]) -> Iterator[None]:
    """Drop the views before the block, which migrates, and make them after it.

    In one transaction. Of a schema that is not the newest, those views are made that its tables
    allow; before revision 0018 the migrations made the views. Raises `ViewsInUse` and
    `ViewNameTaken`.
    """
    ours = {"ours": sorted({file.name for file in view_files()} | _recorded(connection))}
    readers = connection.scalars(text(_READERS), ours).all()
    rights = connection.execute(text(_RIGHTS), ours).all()
    try:
        drop(connection)
        yield
        if _has_record(connection):
            _make(connection, all_of_them=is_newest())
    except DBAPIError as error:
        if readers and getattr(error.orig, "sqlstate", None) in _IN_THE_WAY:
            raise ViewsInUse(readers) from error
        raise
    for name, grant in rights:
        if _exists(connection, name):
            connection.execute(text(grant))


def drop(connection: Connection) -> None:
    """Drop the recorded views, the last made first; one that others read stays where it may."""
    order = [file.name for file in view_files()]
    recorded = _recorded(connection)
    gone = sorted(recorded - set(order))  # files of another version
    for name in [*gone, *(name for name in reversed(order) if name in recorded)]:
        try:
            with connection.begin_nested():
                connection.execute(text(f"DROP VIEW IF EXISTS results.{name}"))
                connection.execute(
                    text(f"DELETE FROM headbook.{RECORD} WHERE name = :name"), {"name": name}
                )
        except DBAPIError as error:
            if name in gone or getattr(error.orig, "sqlstate", None) != _STILL_READ:
                raise


def _make(connection: Connection, *, all_of_them: bool) -> None:
    files, recorded = view_files(), _recorded(connection)
    taken = [f.name for f in files if f.name not in recorded and _exists(connection, f.name)]
    if taken:
        raise ViewNameTaken(taken)
    for file in files:
        try:
            with connection.begin_nested():
                _make_one(connection, file)
        except ProgrammingError:  # a column or table that the schema does not have
            if all_of_them:
                raise


def _make_one(connection: Connection, file: ViewFile) -> None:
    connection.exec_driver_sql(file.sql, execution_options={"no_parameters": True})
    connection.execute(text(f"GRANT SELECT ON results.{file.name} TO {Role.READER}, {Role.WORKER}"))
    connection.execute(
        text(
            f"INSERT INTO headbook.{RECORD} (name, sha256) VALUES (:name, :sha256)"
            " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256"
        ),
        {"name": file.name, "sha256": file.sha256},
    )


def _recorded(connection: Connection) -> set[str]:
    """The names of the views that an upgrade has made from files."""
    if not _has_record(connection):
        return set()
    return set(connection.scalars(text(f"SELECT name FROM headbook.{RECORD}")))


def _has_record(connection: Connection) -> bool:
    return bool(connection.scalar(text(f"SELECT to_regclass('headbook.{RECORD}') IS NOT NULL")))


def _exists(connection: Connection, view: str) -> bool:
    return bool(
        connection.scalar(
            text("SELECT to_regclass('results.' || :view) IS NOT NULL"), {"view": view}
        )
    )
