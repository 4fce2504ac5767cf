"""What the administrator of a server does once, as one script; the embedded one at each start."""

from contextlib import suppress
from hashlib import sha256

import psycopg
from psycopg import sql

from tracker.database.rights import functions, guard
from tracker.domain import Role

# What the owner of the database has put into other schemas is not called by an administrator.
_OURS_ALONE = "SET search_path = pg_catalog, pg_temp"

_ROLES = f"""
DO $harden$ BEGIN
  IF to_regrole('{Role.WORKER}') IS NULL OR to_regrole('{Role.READER}') IS NULL THEN
    RAISE EXCEPTION 'The roles are not there yet: run `headbook db upgrade` first.';
  END IF;
END $harden$"""

# A right of the system's own that this user may not take away is left to the warning.
_TAKEN = f"""
DO $harden$
DECLARE
  owner text := (SELECT datdba::regrole FROM pg_database WHERE datname = current_database());
  one record;
BEGIN
  EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
  REVOKE ALL ON SCHEMA public FROM PUBLIC;
  REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
  EXECUTE format('GRANT USAGE ON LANGUAGE plpgsql TO %s', owner);
  FOR one IN {functions.AMISS.strip()} LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one.signature);
    IF one.for_owner THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', one.signature, owner);
    END IF;
    IF one.for_workers THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {Role.WORKER}', one.signature);
    END IF;
  END LOOP;
END $harden$"""

# Readers must not take the connections of who works.
_GIVEN = f"""
DO $harden$
DECLARE
  owner text := (SELECT datdba::regrole FROM pg_database WHERE datname = current_database());
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA {guard.SCHEMA} TO %s', owner);
  EXECUTE format('GRANT EXECUTE ON FUNCTION {guard.TEND}, {guard.REMEMBER} TO %s', owner);
  IF to_regrole('pg_use_reserved_connections') IS NOT NULL THEN
    GRANT pg_use_reserved_connections TO {Role.WORKER};
    EXECUTE format('GRANT pg_use_reserved_connections TO %s', owner);
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'no connections are reserved for workers: %', SQLERRM;
END $harden$"""

# Postgres 17 has it, and only a superuser may make it.
_AT_LOGIN = f"""
DO $harden$ BEGIN
  IF current_setting('server_version_num')::int >= 170000 AND current_setting('is_superuser') = 'on'
  THEN
    DROP EVENT TRIGGER IF EXISTS headbook_readers;
    CREATE EVENT TRIGGER headbook_readers ON login EXECUTE FUNCTION {guard.SCHEMA}.at_login();
    ALTER EVENT TRIGGER headbook_readers ENABLE ALWAYS;
  END IF;
END $harden$"""

_STATE = f"""
SELECT (SELECT count(*) FROM ({functions.AMISS}) AS amiss),
  has_language_privilege('public', 'plpgsql', 'USAGE')
    OR has_database_privilege('public', current_database(), 'TEMPORARY')
    OR has_schema_privilege('public', 'public', 'USAGE'),
  obj_description(to_regnamespace('{guard.SCHEMA}'), 'pg_namespace')
"""


def script() -> str:
    """What `harden` runs, for psql; safe to run again."""
    ours = [_OURS_ALONE, _ROLES, _TAKEN, *guard.statements(), _GIVEN, _AT_LOGIN]
    text = ";\n".join(statement.strip() for statement in ours) + ";\n"
    digest = sha256(text.encode()).hexdigest()
    mark = f"COMMENT ON SCHEMA {guard.SCHEMA} IS 'limits of readers, {digest[:16]}'"
    return f"{text}{mark};\nSELECT {guard.TEND} AS ended;\n"


def is_hardened(connection: psycopg.Connection) -> bool:
    """Whether nothing stands open, and the guard is that of this version."""
    connection.execute(sql.SQL(_OURS_ALONE))
    row = connection.execute(sql.SQL(_STATE)).fetchone()
    assert row is not None
    amiss, others, mark = row
    return not amiss and not others and f"IS '{mark}'" in script()


def harden(connection: psycopg.Connection) -> None:
    """Close what stands open to everybody in this database; quick where nothing does.

    A connection that commits by itself. Whoever may not make all of it makes none of it.
    """
    if not is_hardened(connection):
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(sql.SQL(script()))


def tend(connection: psycopg.Connection) -> None:
    """Put right what readers have changed of their role, and end those beyond their limits."""
    connection.execute(sql.SQL(f"SELECT {guard.TEND}"))


def remember(connection: psycopg.Connection) -> None:
    """Let the password of readers be what it is now, where the database has a guard of it."""
    row = connection.execute(sql.SQL(guard.may_call(guard.REMEMBER))).fetchone()
    if row and row[0]:
        connection.execute(sql.SQL(f"SELECT {guard.REMEMBER}"))
