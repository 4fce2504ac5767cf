"""Which functions everybody may execute: those that only compute, or tell what anybody may know.

A volatile function has an effect beyond its answer, unless it is one of `HARMLESS`. So what a later
Postgres adds is closed without being named here. Of the others those of `TELLING` are closed too.
"""

from tracker.domain import Role

# Volatile because their answer changes, or read by tools that describe a database.
HARMLESS = (
    r"random|random_normal|setseed|array_sample|array_shuffle|gen_random_uuid|uuidv[47]"
    r"|clock_timestamp|timeofday|pg_(database|table|relation|indexes|total_relation|tablespace)_size"
    r"|pg_(database_)?collation_actual_version|pg_partition_(tree|ancestors)|pg_is_in_recovery"
    r"|pg_jit_available|ts_rewrite|(bernoulli|system|plpgsql_\w+|\w+handler|dsnowball_\w+)"
)
# Called stable, though they take a number of the cluster, run text as a statement, or show what
# others do.
TELLING = (
    r"pg_current_xact_id|txid_current|ts_stat|(query|cursor|table|schema|database)_to_xml\w*"
    r"|pg_stat_get_(activity|progress_info|wal_senders|wal_receiver|backend_\w+)"
    r"|pg_stat_get_(subscription|replication_slot)\w*|pg_get_replication_slots"
    r"|pg_tablespace_databases"
)
# What a worker calls of all this.
OF_WORKERS = r"set_config|pg_advisory_xact_lock"

CLOSED = rf"""(
    (function.provolatile = 'v' AND function.proname !~ '^({HARMLESS})$')
    OR function.proname ~ '^({TELLING})$'
  )"""
TO_EVERYBODY = """(
    function.proacl IS NULL OR EXISTS (
      SELECT FROM aclexplode(function.proacl) AS granted
      WHERE granted.grantee = 0 AND granted.privilege_type = 'EXECUTE'
    )
  )"""
# What the owner of the database keeps: all but what Postgres itself gives to superusers alone.
OF_OWNERS = """function.pronamespace = 'pg_catalog'::regnamespace AND NOT EXISTS (
    SELECT FROM pg_init_privs WHERE objoid = function.oid AND classoid = 'pg_proc'::regclass
  )"""
LACKING = f"""(
    (for_owner AND NOT has_function_privilege(datdba, function.oid, 'EXECUTE'))
    OR (for_workers AND NOT has_function_privilege('{Role.WORKER}', function.oid, 'EXECUTE'))
  )"""
# What is not as it should be; a row each.
AMISS = f"""
SELECT function.oid::regprocedure AS signature, for_owner, for_workers
FROM pg_catalog.pg_proc AS function
JOIN pg_catalog.pg_database ON datname = current_database()
CROSS JOIN LATERAL (
  SELECT {OF_OWNERS}, function.proname ~ '^({OF_WORKERS})$'
) AS meant (for_owner, for_workers)
WHERE prorettype <> 'trigger'::regtype  -- nobody can call those
  AND {CLOSED} AND ({TO_EVERYBODY} OR {LACKING})
"""
