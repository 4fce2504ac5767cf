"""What the superuser makes of an embedded cluster at each start: logins, databases, rights.

Nothing of Headbook's belongs to the superuser: a fault in what the owner runs is not its fault too.
"""

from collections.abc import Callable

import psycopg
from psycopg import sql

from tracker.database import roles
from tracker.database.rights import hardening
from tracker.domain import Role

OWNER = "headbook_owner"
LOGINS = (OWNER, *Role, "mlflow")
DATABASES = {"headbook": OWNER, "mlflow": "mlflow"}  # and who owns each

# Tables and views that an older version had made for the superuser.
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
    """Make what is missing, and take back what was opened or changed since."""
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
    """It makes logins for people, and sets passwords, without becoming who it lets in."""
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
