"""The views of schema `results` with the columns that queries use; a test compares them.

The views are defined by the files in `migrations/views`, with a comment on every column.
"""

from typing import Any

from sqlalchemy import FromClause, Text, Uuid, column, table

_TYPES: dict[str, Any] = {"run_id": Uuid, "input_run_id": Uuid, "study_id": Uuid}
_TYPES |= dict.fromkeys(("metric", "site", "condition", "name"), Text)


def _view(name: str, *columns: str) -> FromClause:
    return table(name, *(column(c, _TYPES.get(c)) for c in columns), schema="results")


RUNS = _view(
    "runs",
    *("run_id", "fingerprint", "analysis", "analysis_version", "engine_version", "params", "seed"),
    *("model_id", "model", "model_revision", "dtype"),
    *("distribution_id", "distribution", "distribution_hash", "recipe"),
    *("priority", "state", "reason", "n_prompts", "done", "attempt", "max_attempts"),
    *("created_by", "created_at", "started_at", "cancel_requested_at", "finished_at"),
    *("published", "publication_error", "mlflow_experiment_id", "mlflow_run_id"),
    *("notes", "provenance"),
)
RUN_EVENTS = _view(
    "run_events", "run_id", "seq", "at", "part", "event", "epoch", "worker", "reason"
)
RUN_INPUTS = _view(
    "run_inputs", "run_id", "analysis", "name", "input_run_id", "input_analysis", "input_state"
)
RUN_LOGS = _view(
    "run_logs",
    *("run_id", "analysis", "at", "seq", "part", "epoch", "worker", "level", "line"),
)
STUDY_RUNS = _view("study_runs", "study_id", "study", "study_created_at", "run_id")
SCORES = _view(
    "scores",
    *("run_id", "kind", "layer", "index", "metric", "site", "condition", "x"),
    *("n", "skipped", "mean", "sem", "ci_low", "ci_high", "varied"),
)
MODELS = _view(
    "models",
    *("model_id", "name", "revision", "dtype", "fingerprint", "family", "n_layers", "n_heads"),
    *("n_kv_heads", "d_model", "d_head", "d_vocab", "shapes", "created_at"),
)
DISTRIBUTIONS = _view(
    "distributions",
    *("distribution_id", "name", "hash", "size", "recipe", "created_at", "runs"),
)
ALL = (RUNS, RUN_EVENTS, RUN_INPUTS, RUN_LOGS, STUDY_RUNS, SCORES, MODELS, DISTRIBUTIONS)
