"""Addresses, commands, CSV and words are built from values."""

import csv
import io
import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote
from uuid import UUID

import pytest

from analyses.prompts.distributions import DistributionSpec
from app import links, phrases
from tracker.domain import RunState
from tracker.results import RunLine, as_csv

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def line(mlflow_run_id="abc", experiment="1", **facts):
    values = {
        "id": UUID(int=7),
        "analysis": "attribution",
        "analysis_version": 1,
        "engine_version": 1,
        "model": "tiny",
        "model_revision": "0" * 40,
        "dtype": "float32",
        "distribution": "facts/chinchilla/ABCD",
        "distribution_hash": "0" * 64,
        "recipe": DistributionSpec(size=8).model_dump(mode="json"),
        "params": {"batch_size": 8},
        "seed": 0,
        "state": RunState.RUNNING,
        "reason": None,
        "done": 3,
        "n_prompts": 8,
        "stopping": False,
        "attempt": 1,
        "max_attempts": 3,
        "created_by": "somebody",
        "created_at": AT,
        "started_at": AT,
        "finished_at": None,
        "seconds": 2.04,
        "mlflow_experiment_id": experiment,
        "mlflow_run_id": mlflow_run_id,
        "published": False,
    }
    return RunLine(**values | facts)


def test_a_run_in_mlflow_has_an_address_there():
    assert links.mlflow_run("http://m", line()) == "http://m/#/experiments/1/runs/abc"
    assert links.mlflow_run("http://m", line(None, None)) is None
    assert links.mlflow_run(None, line()) is None


def test_a_comparison_names_all_runs_and_each_experiment_once():
    lines = [line("a", "2"), line("b", "1"), line("c", "2")]
    page, _, query = links.mlflow_comparison("http://m", lines).partition("?")
    assert page == "http://m/#/compare-runs"
    found = {name: json.loads(unquote(values[0])) for name, values in parse_qs(query).items()}
    assert found == {"runs": ["a", "b", "c"], "experiments": ["1", "2"]}
    assert '"' not in query


def test_the_csv_has_a_row_for_each_score_with_every_digit(score):
    lines = [score(0, 1, -0.12345678901), score(1, 0, None)]
    first, second = csv.DictReader(io.StringIO(as_csv(lines)))
    assert first | {"kind": "head", "layer": "0", "index": "1", "mean": "-0.12345678901"} == first
    assert second["mean"] == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (2.04, "2.0 s"), (75, "1 min 15 s"), (3720, "1 h 02 min")],
)
def test_a_duration_is_told_in_words(seconds, words):
    assert phrases.duration(seconds) == words


def test_a_run_says_how_far_it_is_and_why():
    assert phrases.progress(line()) == "3 of 8 prompts measured · 2.0 s"
    assert phrases.progress(line(done=0, n_prompts=1)).startswith("0 of 1 prompt measured")
    lost = line(reason="lost: worker here:1 let its lease run out", attempt=2)
    assert "lost: worker here:1" in phrases.progress(lost)
    assert "attempt 2 of 3" in phrases.progress(lost)


def test_times_are_told_in_utc():
    assert phrases.moment(AT) == "2026-01-02 03:04:05 UTC"
