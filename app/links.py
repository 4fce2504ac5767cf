"""Links to runs, in the app and in MLflow."""

import json
from collections.abc import Sequence
from urllib.parse import quote
from uuid import UUID

from tracker.results import RunLine

MLFLOW = "mlflow"  # path on this server that redirects to an MLflow with access control


def run_page(run_id: UUID) -> str:
    """The URL of a run's page, relative to the list of runs."""
    return f"run?id={run_id}"


def mlflow_run(mlflow: str | None, line: RunLine) -> str | None:
    """The URL of the run in MLflow; None if MLflow does not have the run yet."""
    if mlflow is None or line.mlflow_run_id is None:
        return None
    return f"{mlflow}/#/experiments/{line.mlflow_experiment_id}/runs/{line.mlflow_run_id}"


def mlflow_comparison(mlflow: str, lines: Sequence[RunLine]) -> str:
    """The URL of MLflow's comparison of these runs, all of which MLflow must have."""
    runs = [line.mlflow_run_id for line in lines]
    experiments = sorted({line.mlflow_experiment_id or "" for line in lines})
    return (
        f"{mlflow}/#/compare-runs?runs={quote(json.dumps(runs))}"
        f"&experiments={quote(json.dumps(experiments))}"
    )
