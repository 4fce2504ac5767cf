"""The MLflow client, and what MLflow shows of a run that has ended.

Postgres is the source of truth. Everything here may be repeated: files are replaced, and metrics
have fixed timestamps.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from analyses.shown import in_markdown, plain
from tracker.domain import RunState
from tracker.publishing import mlflow_errors, mlflow_names
from tracker.publishing.summary import summary
from tracker.results import RunDetail, ScoreLine, as_row
from tracker.results.run_names import name_of
from tracker.secrets import logins
from tracker.store.publications import MlflowIds

NOTE = "mlflow.note.content"
_STATUS = {
    RunState.SUCCEEDED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "KILLED",
}
# By default a call to a server that is down blocks for four minutes.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def mlflow_client(tracking_uri: str) -> MlflowClient:
    """A client that gives up within seconds when the server is down.

    The address may contain a name and a password; no message shows them.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    uri, login = logins.apart(tracking_uri)
    if login is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = login.user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = login.password
    return MlflowClient(uri)


def publish(
    client: MlflowClient,
    ids: MlflowIds,
    run: RunDetail,
    scores: Sequence[ScoreLine],
    *,
    pictures: Mapping[str, bytes],
    remarks: Sequence[str] = (),
    app_url: str | None,
) -> None:
    """Log how the run ended: params, metrics, dataset, scores, pictures and status.

    `pictures` are PNG files by name; `remarks` are added to the note that links back to the run.
    """
    line = run.line
    with mlflow_errors.translated(), tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        at = millis(line.finished_at or line.created_at)
        points = summary(scores, headline=run.notes.headline)
        metrics = [
            Metric(mlflow_names.shortened(key, mlflow_names.KEY), value, at, step)
            for key, step, value in points
        ]
        # MLflow does not let a param change: after a model is renamed, its first name stays there.
        known = client.get_run(ids.run_id).data.params
        params = [Param(key, value) for key, value in _params(run).items() if key not in known]
        tags = [RunTag(key, value) for key, value in tags_of(run).items()]
        note = "\n\n".join([_note(run, app_url), *map(in_markdown, remarks)])
        tags.append(RunTag(NOTE, mlflow_names.tags({NOTE: note})[NOTE]))
        client.log_batch(ids.run_id, metrics=metrics, params=params, tags=tags)
        client.log_inputs(ids.run_id, [_dataset(run)])
        if scores:
            table = Path(folder) / "scores.parquet"
            scores_frame(scores).to_parquet(table)
            client.log_artifact(ids.run_id, str(table))
        for name, content in pictures.items():
            picture = Path(folder) / f"{name}.png"
            picture.write_bytes(content)
            client.log_artifact(ids.run_id, str(picture), "plots")
        client.set_terminated(ids.run_id, status=_STATUS[line.state], end_time=at)


def scores_frame(scores: Sequence[ScoreLine]) -> pd.DataFrame:
    """A table with a row for each score, its component in the columns kind, layer and index."""
    return pd.DataFrame([as_row(score) for score in scores])


def _params(run: RunDetail) -> dict[str, str]:
    line = run.line
    facts = {
        "model": line.model,
        "model_revision": line.model_revision,
        "dtype": line.dtype,
        "distribution": line.distribution,
        "prompts": line.n_prompts,
        "seed": line.seed,
        "analysis_version": line.analysis_version,
    }
    own = {f"params.{key}" if key in facts else key: value for key, value in line.params.items()}
    recipe = {f"prompts.{field}": value for field, value in line.recipe.items() if field != "size"}
    every = {**facts, **recipe, **own}
    return mlflow_names.params({key: str(value) for key, value in every.items()})


def tags_of(run: RunDetail) -> dict[str, str]:
    line = run.line
    tags = {
        "headbook.run": str(line.id),
        "headbook.study": ",".join(run.studies.values()),
        "headbook.model": line.model,
        "headbook.distribution": line.distribution_hash,
        "headbook.state": line.state.value,
        "headbook.reason": (line.reason or "") if line.ended else "",
        mlflow_names.RUN_NAME: str(name_of(line)),
        mlflow_names.USER: line.created_by,
    }
    if commit := run.provenance.get("commit"):
        tags["mlflow.source.git.commit"] = commit
    return mlflow_names.tags({key: value for key, value in tags.items() if value})


def _note(run: RunDetail, app_url: str | None) -> str:
    """The note that MLflow shows above the run: a link back to it."""
    shell = f"`headbook runs show {run.line.id}`"
    return f"[Run {run.line.id}]({app_url}/run?id={run.line.id}), {shell}" if app_url else shell


def _dataset(run: RunDetail) -> DatasetInput:
    line = run.line
    source = {"hash": line.distribution_hash, "name": line.distribution, "size": line.n_prompts}
    dataset = Dataset(
        name=mlflow_names.shortened(plain(line.distribution), mlflow_names.DATASET),
        digest=line.distribution_hash[:36],
        source_type="headbook",
        source=json.dumps(source),
        profile=json.dumps({"num_rows": line.n_prompts}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "analysis")])


def millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)
