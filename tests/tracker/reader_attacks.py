"""What a reader may try, by kind, and what becomes of each.

An attack is one statement or a few in one session, as the shared login of readers. `refused` is the
start of the SQLSTATE that it ends with; without one it passes, and what it may cost is checked for
all alike.
"""

from dataclasses import dataclass

RIGHT = "42501"  # insufficient privilege
MEMORY = "53200"
TEMP_FILES = "53400"  # configuration limit exceeded
TOO_LONG = "57014"  # cancelled by statement_timeout
READ_ONLY = "25006"
UNDEFINED = "42"  # there is no such thing, or not for a reader
TOO_MUCH = "5"  # memory, limits, or time: whichever comes first


@dataclass(frozen=True)
class Attack:
    kind: str
    sql: tuple[str, ...]
    refused: str | None = None  # the start of its SQLSTATE


def _attacks(kind: str, refused: str | None, *statements: str | tuple[str, ...]) -> list[Attack]:
    return [Attack(kind, (one,) if isinstance(one, str) else one, refused) for one in statements]


WRITABLE = ("BEGIN READ WRITE",)
LIFTED = (
    "SET statement_timeout = 0",
    "SET transaction_timeout = 0",
    "SET work_mem = '16GB'",
    "SET hash_mem_multiplier = 1000",
    "SET max_parallel_workers_per_gather = 16",
    "SET parallel_setup_cost = 0",
    "SET parallel_tuple_cost = 0",
    "SET min_parallel_table_scan_size = 0",
)
FUNCTIONS = _attacks(
    "functions with an effect",
    RIGHT,
    "SELECT count(pg_advisory_lock(g)) FROM generate_series(1, 200000) AS g",
    "SELECT count(pg_advisory_lock_shared(g)) FROM generate_series(1, 200000) AS g",
    "SELECT count(pg_advisory_xact_lock(g, 1)) FROM generate_series(1, 200000) AS g",
    "SELECT count(pg_try_advisory_lock(g)) FROM generate_series(1, 200000) AS g",
    "SELECT pg_try_advisory_xact_lock_shared(1)",
    "SELECT pg_advisory_unlock_all()",
    "SELECT pg_sleep(3600)",
    "SELECT pg_sleep_for('1 day')",
    "SELECT pg_sleep_until('infinity')",
    "SELECT pg_notify('a', repeat('x', 7999)) FROM generate_series(1, 1000000)",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT lo_create(0) FROM generate_series(1, 1000000)",
    "SELECT lo_from_bytea(0, convert_to(repeat('x', 100000000), 'utf8'))",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT lo_unlink(1)",
    "SELECT loread(1, 1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/out')",
    "SELECT pg_logical_emit_message(false, 'a', repeat('x', 100000000))",
    "SELECT pg_current_xact_id()",
    "SELECT txid_current()",
    "SELECT pg_export_snapshot()",
    "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    "SELECT pg_create_physical_replication_slot('mine', true)",
    "SELECT pg_drop_replication_slot('theirs')",
    "SELECT pg_replication_slot_advance('theirs', '0/1')",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_restore_point('here')",
    "SELECT pg_backup_start('mine')",
    "SELECT pg_promote()",
    "SELECT pg_wal_replay_pause()",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_log_backend_memory_contexts(pg_backend_pid())",
    "SELECT pg_stat_reset()",
    "SELECT pg_stat_reset_shared('wal')",
    "SELECT pg_stat_clear_snapshot()",
    "SELECT pg_stat_force_next_flush()",
    "SELECT pg_import_system_collations('pg_catalog')",
    "SELECT pg_clear_relation_stats('headbook', 'run')",
    "SELECT pg_restore_relation_stats('relname', 'run')",
    "SELECT nextval('headbook.run_event_id_seq')",
    "SELECT setval('headbook.run_event_id_seq', 1)",
    "SELECT lastval()",
    "SELECT pg_nextoid('pg_class', 'oid', 'pg_class_oid_index')",
    "SELECT gin_clean_pending_list('pg_class')",
    "SELECT brin_summarize_new_values('pg_class')",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT table_to_xml('headbook.run', true, true, '')",
    "SELECT schema_to_xml('results', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT cursor_to_xml('c', 1, true, true, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(version())')",
    "SELECT binary_upgrade_set_next_pg_authid_oid(1)",
    "SELECT headbook_guard.tend()",
    "SELECT headbook_guard.remember()",
)
FILES = _attacks(
    "files of the server",
    RIGHT,
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_ls_logdir()",
    "SELECT pg_ls_waldir()",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT pg_current_logfile()",
    "SELECT pg_show_all_file_settings()",
    "SELECT pg_hba_file_rules()",
    "COPY (SELECT 1) TO '/tmp/out'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    ("BEGIN READ WRITE", "COPY results.head_scores FROM '/etc/passwd'"),
    "LOAD '/tmp/mine.so'",
)
OTHERS = _attacks(
    "what others do",
    RIGHT,
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stat_get_activity(NULL)",
    "SELECT pg_stat_get_backend_activity(1)",
    "SELECT pg_stat_get_backend_idset()",
    "SELECT * FROM pg_stat_replication",
    "SELECT * FROM pg_stat_ssl",
    "SELECT * FROM pg_stat_progress_vacuum",
    "SELECT * FROM pg_locks",
    "SELECT * FROM pg_prepared_xacts",
    "SELECT pg_blocking_pids(1)",
    "SELECT * FROM pg_replication_slots",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_user_mapping",
    "SELECT * FROM pg_subscription",
    "SELECT * FROM pg_largeobject",
    "SELECT * FROM pg_statistic",
    "SELECT * FROM pg_file_settings",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_shmem_allocations",
    "SELECT * FROM pg_backend_memory_contexts",
    "SELECT * FROM headbook_guard.login",
    "SELECT current_setting('data_directory')",
    "SHOW config_file",
    "SELECT * FROM headbook.run",
    "SELECT * FROM headbook.run_log",
    "EXPLAIN ANALYZE SELECT * FROM headbook.prompt",
    "COPY headbook.run TO STDOUT",
    "SELECT 'headbook.run'::regclass",
)
SECRETS = [
    Attack(
        "nothing to see", ("SELECT 1/count(*) FROM pg_stats WHERE schemaname = 'headbook'",), "22"
    ),
    Attack(
        "nothing to see",
        ("SELECT 1/count(*) FROM pg_roles WHERE rolpassword IS DISTINCT FROM '********'",),
        "22",
    ),
    Attack(
        "nothing to see",
        ("SELECT 1/count(*) FROM pg_settings WHERE name = 'primary_conninfo'",),
        "22",
    ),
]
CHANGES = [
    *_attacks(
        "changes",
        RIGHT,
        *(
            (*WRITABLE, statement)
            for statement in (
                "CREATE TABLE public.mine (x int)",
                "CREATE TABLE results.mine (x int)",
                "CREATE TEMP TABLE mine (x int)",
                "CREATE TEMP TABLE mine AS SELECT g FROM generate_series(1, 100000000) AS g",
                "CREATE TEMP SEQUENCE mine",
                "CREATE TEMP VIEW mine AS SELECT 1",
                "SELECT 1 AS x INTO TEMP mine",
                "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "CREATE FUNCTION results.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "CREATE SCHEMA mine",
                "CREATE ROLE mine",
                "CREATE EVENT TRIGGER mine ON login EXECUTE FUNCTION headbook_guard.at_login()",
                "CREATE PUBLICATION mine FOR ALL TABLES",
                "CREATE CAST (text AS int) WITHOUT FUNCTION",
                "CREATE OPERATOR results.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
                "CREATE AGGREGATE results.mine (int) (SFUNC = int4pl, STYPE = int)",
                "CREATE TYPE results.mine AS (x int)",
                "CREATE DOMAIN results.mine AS int",
                'CREATE COLLATION results.mine FROM "C"',
                "DO LANGUAGE plpgsql $$ BEGIN LOOP END LOOP; END $$",
                "DROP VIEW results.head_scores",
                "ALTER VIEW results.head_scores RESET (security_barrier)",
                "ALTER VIEW results.head_scores OWNER TO headbook_reader",
                "CREATE OR REPLACE VIEW results.head_scores AS SELECT 1",
                "COMMENT ON VIEW results.head_scores IS 'mine'",
                "COMMENT ON DATABASE headbook IS 'mine'",
                "INSERT INTO headbook.run DEFAULT VALUES",
                "TRUNCATE headbook.run",
                "MERGE INTO headbook.run USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
                "SELECT * FROM results.run_logs FOR UPDATE",
                "SELECT * FROM results.run_logs FOR KEY SHARE",
                "LOCK TABLE results.head_scores IN ACCESS EXCLUSIVE MODE",
                "LOCK TABLE results.head_scores IN SHARE MODE",
                "LOCK TABLE headbook.run IN ACCESS SHARE MODE",
                "LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE",
                "REINDEX TABLE headbook.run",
                "REFRESH MATERIALIZED VIEW headbook.run",
                "ALTER DATABASE headbook SET statement_timeout = 0",
                "ALTER DATABASE headbook CONNECTION LIMIT 0",
                "ALTER ROLE headbook_reader SUPERUSER",
                "ALTER ROLE headbook_reader CONNECTION LIMIT 1000",
                "ALTER ROLE headbook_reader VALID UNTIL '2000-01-01'",
                "ALTER ROLE headbook_reader SET temp_file_limit = -1",
                "ALTER ROLE headbook_worker SET statement_timeout = 1",
                "ALTER ROLE ALL SET statement_timeout = 1",
                "ALTER ROLE headbook_worker PASSWORD 'mine'",
                "ALTER DEFAULT PRIVILEGES FOR ROLE headbook_owner GRANT ALL ON TABLES TO PUBLIC",
                "GRANT headbook_reader TO headbook_worker",
                "GRANT pg_read_all_data TO headbook_reader",
                "GRANT SET ON PARAMETER temp_file_limit TO headbook_reader",
                "REASSIGN OWNED BY headbook_owner TO headbook_reader",
                "DROP OWNED BY headbook_worker",
                "DROP ROLE headbook_worker",
                "SET ROLE headbook_worker",
                "SET ROLE headbook_owner",
                "SET ROLE pg_read_all_data",
                "SET SESSION AUTHORIZATION headbook_worker",
                "SET SESSION AUTHORIZATION postgres",
                "SET temp_file_limit = -1",
                "SET log_min_messages = 'debug5'",
                "SET session_replication_role = 'replica'",
                "SET event_triggers = off",
                "SET log_statement = 'all'",
                "SET deadlock_timeout = '1ms'",
            )
        ),
    ),
    *_attacks(
        "changes outside of a transaction",
        RIGHT,
        *(
            ("SET default_transaction_read_only = off", statement)
            for statement in (
                "CHECKPOINT",
                "CREATE DATABASE mine",
                "DROP DATABASE mlflow",
                "ALTER DATABASE mlflow RENAME TO mine",
                "CREATE TABLESPACE mine LOCATION '/tmp'",
                "CREATE SUBSCRIPTION mine CONNECTION '' PUBLICATION p WITH (connect = false)",
                "ALTER SYSTEM SET shared_buffers = '1GB'",
                "CLUSTER headbook.run",
            )
        ),
    ),
    Attack("extensions", (*WRITABLE, "CREATE EXTENSION dblink"), "0A"),  # they are not installed
    Attack("extensions", (*WRITABLE, "CREATE EXTENSION postgres_fdw"), "0A"),
    Attack("views are not written to", (*WRITABLE, "DELETE FROM results.run_logs"), "55"),
    *_attacks(
        "changes while it only reads",
        READ_ONLY,
        "ALTER ROLE headbook_reader SET search_path = 'public'",
        "ALTER ROLE headbook_reader PASSWORD 'mine'",
        "GRANT SELECT ON results.run_logs TO PUBLIC",
        "CREATE TABLE x (x int)",
    ),
    Attack("two phases", (*WRITABLE, "PREPARE TRANSACTION 'mine'"), "55"),
    Attack(
        "files of the server", ("SELECT * FROM dblink('', 'SELECT 1') AS t (x int)",), UNDEFINED
    ),
    Attack("large values", ("SELECT xpath('//*', '<a/>')",), "0A"),
    Attack("statement", ("VACUUM FULL headbook.run", "ANALYZE headbook.run"), RIGHT),
]
PASSES = _attacks(
    "passes, and costs little",
    None,
    "NOTIFY a, 'nobody listens'",
    ("LISTEN a", "UNLISTEN *"),
    tuple(f"LISTEN channel_{n}" for n in range(500)),
    ("BEGIN", "LOCK TABLE results.head_scores IN ACCESS SHARE MODE"),
    ("BEGIN", *(f"SAVEPOINT s{n}" for n in range(2000))),
    tuple(f"PREPARE p{n} AS SELECT * FROM results.head_scores" for n in range(300)),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM results.head_scores"),
    ("BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 200000)", "COMMIT"),
    "DISCARD ALL",
    "RESET ALL",
    "SET search_path = pg_temp, public",
    f"SELECT 1 WHERE 1 IN ({', '.join(map(str, range(100_000)))})",
    f"SELECT {' + '.join(['1'] * 3000)}",
    "SELECT repeat('x', 50000000) = repeat('x', 50000000)",
    "EXPLAIN SELECT * FROM results.head_scores a, results.head_scores b, results.head_scores c",
    "SELECT count(*) FROM pg_class TABLESAMPLE bernoulli (10)",
    "SELECT has_table_privilege('headbook_worker', 1, 'SELECT')",
    "SELECT count(*) FROM pg_timezone_names",
    *(
        f"SELECT count(*) FROM pg_catalog.{view}"
        for view in ("pg_class", "pg_views", "pg_settings", "pg_stat_user_tables", "pg_roles")
    ),
)
DEEP = [
    Attack("nested too deeply", (f"SELECT {'(' * 20000}1{')' * 20000}",), "42601"),  # no syntax
    *_attacks(
        "nested too deeply",
        "54",  # program limit exceeded
        f"SELECT {' + '.join(['1'] * 200000)}",
        f"SELECT '{'[' * 100000}'::json",
        f"SELECT '{'[' * 100000}'::jsonb",
        f"SELECT {', '.join(['1'] * 2000)}",
        "SELECT repeat('x', 1100000000)",
        f"SELECT {' UNION ALL SELECT '.join(['1'] * 20000)}",
    ),
]
BOMBS = [
    *_attacks(
        "memory",
        MEMORY,
        *(
            (*LIFTED, statement)
            for statement in (
                "SELECT repeat('x', 900000000)::bytea",
                "SELECT count(*) FROM (SELECT array_agg(g) FROM generate_series(1, 100000000) g) x",
                "SELECT jsonb_agg(repeat('x', 1000) || g) FROM generate_series(1, 5000000) AS g",
                "SELECT count(*) FROM (SELECT DISTINCT repeat('x', 500) || g"
                " FROM generate_series(1, 5000000) AS g) AS x",
                "SELECT array_fill(1.0::float8, ARRAY[90000000])",
                "SELECT lpad('x', 200000000) || rpad('x', 200000000)",
                "SELECT sum(length(r)) FROM (SELECT repeat('x', 1000) AS r, g FROM"
                " generate_series(1, 5000000) AS g) AS x JOIN pg_attribute ON attnum = g",
            )
        ),
    ),
    *_attacks(
        "temp files",
        TEMP_FILES,
        "SELECT g FROM generate_series(1, 50000000) AS g ORDER BY -g",
        "SELECT count(*) FROM (SELECT DISTINCT repeat('x', 500) || g FROM"
        " generate_series(1, 5000000) AS g) AS x",
        (
            "BEGIN",
            "DECLARE c CURSOR WITH HOLD FOR SELECT repeat('x', 1000) FROM"
            " generate_series(1, 5000000)",
            "COMMIT",
        ),
        "WITH RECURSIVE r AS (SELECT 1 AS n, repeat('x', 1000) AS x UNION ALL"
        " SELECT n + 1, x FROM r) SELECT count(*) FROM r, r AS s",
    ),
    *_attacks(
        "time",
        TOO_LONG,
        *(
            ("SET statement_timeout = '500ms'", statement)
            for statement in (
                "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT count(*) FROM r",
                "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b",
                "SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c",
                "EXPLAIN ANALYZE SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c",
                "SELECT count(*) FROM generate_series(1, 10000000) AS g"
                r" WHERE repeat(g::text, 500) ~ '(\d+)(\d+)\1\2x'",
                "SELECT count(repeat('x', 1000000)) FROM generate_series(1, 100000000)",
                "SELECT count(md5(repeat(g::text, 10000))) FROM generate_series(1, 10000000) g",
                "SELECT count(random()) FROM pg_attribute a, pg_attribute b",
                "SELECT count(*) FROM results.head_scores a RIGHT JOIN"
                " generate_series(1, 100000000) g ON true",
                "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000000)) TO STDOUT",
            )
        ),
    ),
]
ALL = [*FUNCTIONS, *FILES, *OTHERS, *SECRETS, *CHANGES, *PASSES, *DEEP, *BOMBS]
