"""What the superuser sets up in an embedded cluster at each start: roles, databases, rights.

No object of Headbook's is owned by the superuser, so a flaw in one never runs with its rights.
"""

from collections.abc import Callable

import psycopg
from psycopg import sql

from tracker.database import roles
from tracker.database.rights import hardening
from tracker.domain import Role

OWNER = "headbook_owner"
LOGINS = (OWNER, *Role, "mlflow")
DATABASES = {"headbook": OWNER, "mlflow": "mlflow"}  # and their owners

# Objects that older versions created as the superuser.
_HAND_OVER = f"""
DO $$
DECLARE
  one record;
BEGIN
  FOR one IN
    SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS named FROM pg_namespace
    WHERE nspname IN ('headbook', 'results') AND nspowner <> '{OWNER}'::regrole
    UNION ALL
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
      format('%I.%I', nspname, relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname IN ('headbook', 'results') AND relkind IN ('r', 'v', 'S')
      AND relowner <> '{OWNER}'::regrole
      AND NOT EXISTS (  -- a sequence of a column goes with its table
        SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i') AND relkind = 'S')
    UNION ALL
    SELECT 'FUNCTION', p.oid::regprocedure::text
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
    WHERE nspname IN ('headbook', 'results') AND proowner <> '{OWNER}'::regrole
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO {OWNER}', one.kind, one.named);
  END LOOP;
END $$
"""


def provide(connect: Callable[[str], psycopg.Connection], password: Callable[[str], str]) -> None:
    """Create what is missing, and revoke or reset what was changed since."""
    with connect("postgres") as connection:
        for login in LOGINS:
            roles.let_in(connection, login, password(login))
        _give_owner_its_rights(connection)
        _make_databases(connection)
    with connect("headbook") as connection:
        connection.execute(_HAND_OVER)
        hardening.harden(connection)
        hardening.remember(connection)
        hardening.tend(connection)


def _give_owner_its_rights(connection: psycopg.Connection) -> None:
    """The owner may create roles and set passwords, but not act as those roles."""
    connection.execute(f"ALTER ROLE {OWNER} CREATEROLE")
    for role in Role:
        connection.execute(
            sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(
                sql.Identifier(role), sql.Identifier(OWNER)
            )
        )
    connection.execute("GRANT pg_use_reserved_connections TO mlflow")


def _make_databases(connection: psycopg.Connection) -> None:
    rows = connection.execute("SELECT datname, datdba::regrole::text FROM pg_database").fetchall()
    found: dict[str, str] = dict(rows)
    for name, owner in DATABASES.items():
        names = sql.Identifier(name), sql.Identifier(owner)
        if name not in found:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
        elif found[name] != owner:
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))
    for name in (*DATABASES, "postgres", "template1"):
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
        )
    for role in Role:
        roles.let_connect(connection, role, "headbook")
