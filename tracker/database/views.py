"""Creates the views of schema `results` at every upgrade, from the files in `migrations/views`.

A view is dropped before the migrations and created after them. If a view of another user depends
on it, it stays and is replaced. The table `headbook.view_file` records which views were created.
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
_HAS_DEPENDENTS = "2BP01"
# Errors of changing the columns of a view, or of its tables, while others depend on the view.
_BLOCKED = (_HAS_DEPENDENTS, "0A000", "42P16")

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
            f"The views of schema results cannot be changed, because other views depend on them: "
            f"{', '.join(readers)}. Drop those, run `headbook db upgrade`, and create them again. "
            "Nothing was changed."
        )


class ViewNameTaken(TrackerError):
    def __init__(self, names: Iterable[str]) -> None:
        taken = ", ".join(f"results.{name}" for name in names)
        super().__init__(
            f"A view of the same name as one of Headbook's already exists: {taken}."
            " Rename or drop it and run `headbook db upgrade` again. Nothing was changed."
        )


@dataclass(frozen=True, kw_only=True)
class ViewFile:
    """The SQL statements that create a view with its comments."""

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
    """The views of this version, each after the views that it selects from."""
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
    """Whether the views are those of this version, for a schema at the latest revision."""
    recorded = connection.execute(
        text(
            f"SELECT name, sha256 FROM headbook.{RECORD}"
            " WHERE to_regclass(format('results.%I', name)) IS NOT NULL"
        )
    )
    existing: dict[str, str] = dict(recorded.all())
    return existing == {file.name: file.sha256 for file in view_files()}


@contextmanager
def made_anew(connection: Connection, is_newest: Callable[[], bool]) -> Iterator[None]:
    """Drop the views before the block, which migrates, and create them after it.

    All in one transaction. In a schema that is not at the latest revision, views that need missing
    tables or columns are left out; before revision 0018 the migrations created the views. Raises
    `ViewsInUse` and `ViewNameTaken`.
    """
    ours = {"ours": sorted({file.name for file in view_files()} | _recorded(connection))}
    readers = connection.scalars(text(_READERS), ours).all()
    rights = connection.execute(text(_RIGHTS), ours).all()
    try:
        drop(connection)
        yield
        if _has_record(connection):
            _create(connection, all_of_them=is_newest())
    except DBAPIError as error:
        if readers and getattr(error.orig, "sqlstate", None) in _BLOCKED:
            raise ViewsInUse(readers) from error
        raise
    for name, grant in rights:
        if _exists(connection, name):
            connection.execute(text(grant))


def drop(connection: Connection) -> None:
    """Drop the recorded views in reverse order; one that other views depend on stays if it can."""
    order = [file.name for file in view_files()]
    recorded = _recorded(connection)
    gone = sorted(recorded - set(order))  # views that this version does not have
    for name in [*gone, *(name for name in reversed(order) if name in recorded)]:
        try:
            with connection.begin_nested():
                connection.execute(text(f"DROP VIEW IF EXISTS results.{name}"))
                connection.execute(
                    text(f"DELETE FROM headbook.{RECORD} WHERE name = :name"), {"name": name}
                )
        except DBAPIError as error:
            if name in gone or getattr(error.orig, "sqlstate", None) != _HAS_DEPENDENTS:
                raise


def _create(connection: Connection, *, all_of_them: bool) -> None:
    files, recorded = view_files(), _recorded(connection)
    taken = [f.name for f in files if f.name not in recorded and _exists(connection, f.name)]
    if taken:
        raise ViewNameTaken(taken)
    for file in files:
        try:
            with connection.begin_nested():
                _create_one(connection, file)
        except ProgrammingError:  # the schema lacks a table or column
            if all_of_them:
                raise


def _create_one(connection: Connection, file: ViewFile) -> None:
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
    """The names of the views that upgrades have created from files."""
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
