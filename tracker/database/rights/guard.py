"""The schema `headbook_guard`: what holds of readers whatever they set, and nobody may alter.

Its owner is who hardens the database. Workers and the owner of the tables may call `tend`, which
touches sessions and settings of readers and no others.
"""

from collections.abc import Mapping

from tracker.database.rights import limits
from tracker.domain import Role

SCHEMA = "headbook_guard"
TEND = f"{SCHEMA}.tend()"
REMEMBER = f"{SCHEMA}.remember()"


def may_call(function: str) -> str:
    """The query whether the database has that function of the guard, for this user."""
    return f"""
SELECT EXISTS (
  SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
  WHERE nspname || '.' || proname || '()' = '{function}'
    AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
)"""


# Superusers, the database's owner and workers are no readers, even as members of that role.
READS = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.reads(login oid) RETURNS boolean STABLE
SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$
  SELECT coalesce((
    SELECT NOT rolsuper AND oid <> datdba
      AND (pg_has_role(oid, '{Role.READER}', 'USAGE')
        OR pg_has_role(oid, '{Role.READER}', CASE  -- an older Postgres does not tell them apart
          WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END))
      AND NOT pg_has_role(oid, '{Role.WORKER}', 'USAGE')
    FROM pg_roles, (SELECT datdba FROM pg_database WHERE datname = current_database()) AS ours
    WHERE oid = login
  ), false)
$$"""

# A login must never be refused for a fault in here.
AT_LOGIN = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.at_login() RETURNS event_trigger SECURITY DEFINER
SET search_path = pg_catalog, pg_temp LANGUAGE plpgsql AS $$
BEGIN
  IF {SCHEMA}.reads((SELECT oid FROM pg_roles WHERE rolname = session_user)) THEN
    PERFORM set_config(name, wanted, false) FROM {SCHEMA}.known() AS ours (name, wanted);
  END IF;
EXCEPTION WHEN OTHERS THEN
  RAISE LOG 'limits of readers were not set: %', SQLERRM;
END $$"""

# A reader that has a transaction id writes: no view can be written to, so it changes its own role.
ENDED = f"""
  FROM pg_stat_activity AS reader
  WHERE backend_type = 'client backend' AND datname = current_database()
    AND {SCHEMA}.reads(usesysid) AND (
      backend_xid IS NOT NULL
      OR state = 'active' AND query_start < clock_timestamp() - {SCHEMA}.most('statement_timeout')
      OR xact_start < clock_timestamp() - {SCHEMA}.most('transaction_timeout')
      OR state LIKE 'idle in %'
        AND state_change < clock_timestamp() - {SCHEMA}.most('idle_in_transaction_session_timeout')
      OR state = 'idle' AND state_change < clock_timestamp() - {SCHEMA}.most('idle_session_timeout')
      OR EXISTS (
        SELECT FROM pg_stat_activity AS waiting
        WHERE waiting.wait_event_type = 'Lock' AND NOT {SCHEMA}.reads(waiting.usesysid)
          AND reader.pid = ANY (pg_blocking_pids(waiting.pid))
      )
    )"""

SETTLE = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.settle() RETURNS void
SET search_path = pg_catalog, pg_temp LANGUAGE plpgsql AS $$
DECLARE
  reader oid := '{Role.READER}'::regrole;
  ours text[] := ARRAY(SELECT name || '=' || wanted FROM {SCHEMA}.known() AS o (name, wanted));
  each record;
BEGIN
  FOR each IN SELECT datname FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase
    WHERE setrole = reader
  LOOP
    EXECUTE format('ALTER ROLE {Role.READER} IN DATABASE %I RESET ALL', each.datname);
  END LOOP;
  IF NOT EXISTS (
    SELECT FROM pg_db_role_setting WHERE setrole = reader AND setdatabase = 0
      AND setconfig @> ours AND ours @> setconfig
  ) THEN
    ALTER ROLE {Role.READER} RESET ALL;
    FOR each IN SELECT name, wanted FROM {SCHEMA}.known() AS o (name, wanted) LOOP
      EXECUTE format('ALTER ROLE {Role.READER} SET %I = %L', each.name, each.wanted);
    END LOOP;
  END IF;
  IF (SELECT rolconnlimit FROM pg_roles WHERE oid = reader) <> {limits.CONNECTIONS} THEN
    ALTER ROLE {Role.READER} CONNECTION LIMIT {limits.CONNECTIONS};
  END IF;
END $$"""

# Of the shared login, which anybody who has it could change for all. A superuser alone reads them.
LOGINS = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.login (role name PRIMARY KEY, verifier text NOT NULL)"""
REMEMBERS = f"""
CREATE OR REPLACE FUNCTION {REMEMBER} RETURNS void SECURITY DEFINER
SET search_path = pg_catalog, pg_temp LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO {SCHEMA}.login SELECT rolname, rolpassword FROM pg_authid
  WHERE rolname = '{Role.READER}' AND rolpassword IS NOT NULL
  ON CONFLICT (role) DO UPDATE SET verifier = excluded.verifier;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$"""
RESTORE = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.restore() RETURNS void
SET search_path = pg_catalog, pg_temp LANGUAGE plpgsql AS $$
DECLARE
  known record;
BEGIN
  FOR known IN SELECT role, verifier FROM {SCHEMA}.login JOIN pg_authid ON rolname = role
    WHERE rolpassword IS DISTINCT FROM verifier
  LOOP
    EXECUTE format('ALTER ROLE %I PASSWORD %L', known.role, known.verifier);
  END LOOP;
END $$"""

# What one part may not do, or finds changed at the same moment, must not keep the others from it.
TENDS = f"""
CREATE OR REPLACE FUNCTION {TEND} RETURNS integer SECURITY DEFINER
SET search_path = pg_catalog, pg_temp LANGUAGE plpgsql AS $$
DECLARE
  ended integer := 0;
BEGIN
  BEGIN
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) INTO ended {ENDED};
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'readers beyond their limits were not ended: %', SQLERRM;
  END;
  BEGIN
    PERFORM {SCHEMA}.settle();
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'settings of readers were not put right: %', SQLERRM;
  END;
  BEGIN
    PERFORM {SCHEMA}.restore();
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'the login of readers was not put right: %', SQLERRM;
  END;
  RETURN ended;
END $$"""


def wanted(settings: Mapping[str, str], fixed: Mapping[str, str]) -> str:
    """The function that lists the settings of readers, of which some only a superuser may set."""

    def rows(of: Mapping[str, str]) -> str:
        return ", ".join(f"('{name}', '{value}')" for name, value in of.items())

    return f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.wanted() RETURNS TABLE (name text, wanted text) STABLE
SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$
  SELECT column1, column2 FROM (VALUES {rows(settings)}) AS own
  UNION ALL SELECT column1, column2 FROM (VALUES {rows(fixed)}) AS fixed
  WHERE has_parameter_privilege(column1, 'SET')
$$"""


# An older Postgres lacks some.
KNOWN = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.known() RETURNS TABLE (name text, wanted text) STABLE
SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$
  SELECT * FROM {SCHEMA}.wanted() AS ours (name, wanted)
  WHERE current_setting(ours.name, true) IS NOT NULL
$$"""
MOST = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.most(setting text) RETURNS interval STABLE
SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$
  SELECT ours.wanted::interval FROM {SCHEMA}.wanted() AS ours (name, wanted)
  WHERE ours.name = setting
$$"""


# Somebody else could have hung effects on what is run here with an administrator's rights.
CLEARED = f"""
DO $harden$ BEGIN
  IF EXISTS (
    SELECT FROM pg_namespace JOIN pg_roles AS owner ON owner.oid = nspowner
    WHERE nspname = '{SCHEMA}' AND rolname <> current_user AND NOT rolsuper
  ) THEN
    DROP SCHEMA {SCHEMA} CASCADE;
  END IF;
END $harden$"""

# A password that was set before there was a guard.
REMEMBERED = f"""
DO $harden$ BEGIN
  IF NOT EXISTS (SELECT FROM {SCHEMA}.login) THEN
    PERFORM {REMEMBER};
  END IF;
END $harden$"""


def statements() -> list[str]:
    """All of it, in order; safe to run again."""
    return [
        CLEARED,
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
        *(LOGINS, wanted(limits.SETTINGS, limits.FIXED_SETTINGS), KNOWN, MOST, READS),
        *(SETTLE, RESTORE, TENDS, REMEMBERS, AT_LOGIN, REMEMBERED),
        f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {SCHEMA} FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {Role.WORKER}",
        f"GRANT EXECUTE ON FUNCTION {TEND} TO {Role.WORKER}",
    ]
