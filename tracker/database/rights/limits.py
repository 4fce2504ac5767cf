"""What readers may use of the server. The reasons stand in docs/deploy.md, "Readers"."""

CONNECTIONS = 8  # of the shared login; a person's own login has a smaller limit of its own
TEMP_FILES = "256MB"  # of one session: sorts, hashes, cursors WITH HOLD

# A reader may change these for the own session; what must hold then is held by the guard, whose
# limits of time are these, and by the memory that a session may have.
SETTINGS = {
    "default_transaction_read_only": "on",
    "search_path": "results",
    "statement_timeout": "60s",
    "transaction_timeout": "120s",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "3600s",
    "lock_timeout": "5s",
    "work_mem": "8MB",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
# These only a superuser may set, and a reader cannot change them.
FIXED_SETTINGS = {
    "temp_file_limit": TEMP_FILES,
    # Refused statements of megabytes, over and over, would fill the disk of the log.
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}
