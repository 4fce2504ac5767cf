"""Addresses of runs: in the app, and in MLflow."""

import json
from collections.abc import Sequence
from urllib.parse import quote
from uuid import UUID

from tracker.results import RunLine

MLFLOW = "mlflow"  # on this server: leads on to an MLflow that asks who comes


def run_page(run_id: UUID) -> str:
    """The page of a run, relative to the page of all runs."""
    return f"run?id={run_id}"


def mlflow_run(mlflow: str | None, line: RunLine) -> str | None:
    """The run in MLflow; None while it is not there."""
    if mlflow is None or line.mlflow_run_id is None:
        return None
    return f"{mlflow}/#/experiments/{line.mlflow_experiment_id}/runs/{line.mlflow_run_id}"


def mlflow_comparison(mlflow: str, lines: Sequence[RunLine]) -> str:
    """MLflow's comparison of runs that are all there."""
    runs = [line.mlflow_run_id for line in lines]
    experiments = sorted({line.mlflow_experiment_id or "" for line in lines})
    return (
        f"{mlflow}/#/compare-runs?runs={quote(json.dumps(runs))}"
        f"&experiments={quote(json.dumps(experiments))}"
    )
