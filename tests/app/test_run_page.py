"""The page of one run, on a real database."""

import json
import time

import pytest
import streamlit as st
from stored_runs import add_distribution, add_model, finished_run

from analyses.bootstrap import Statistics
from analyses.quantities import Quantity
from analyses.results import Component, Kind, ScoreKey
from analyses.stored import ScoreDescription
from app import data
from tracker import results
from tracker.database.db import transaction
from tracker.domain import LogLevel, PartClaim, PartKind, RunState, SaidLine
from tracker.domain.run_notes import RunNotes
from tracker.store import log_lines

from .visiting import all_runs, press, words


def test_a_run_shows_its_heads_and_its_warnings(visit, succeeded):
    at = visit("run", id=succeeded(warnings=["The labels are unlikely."]).id)
    assert "8 of 8 prompts measured" in words(at.markdown)
    assert "The labels are unlikely." in words(at.warning)
    strongest = at.dataframe[0].value
    assert strongest["component"].iloc[0] == "L01.H02"
    assert strongest["mean"].iloc[0] == pytest.approx(2, abs=0.1)
    assert len(at.get("vega_lite_chart")) == 1


def test_the_other_tabs_show_components_events_and_repro(visit, succeeded):
    run = succeeded()
    at = visit("run", id=run.id, tab="Other components")
    assert "Whole model" in words(at.markdown)
    assert len(at.dataframe) == 4
    events = visit("run", id=run.id, tab="Events").dataframe[0].value
    assert events["event"].iloc[-1] == "succeeded"
    at = visit("run", id=run.id, tab="Repro")
    assert "--split all --prompts 8 -p prompts=all" in words(at.code)
    assert any("2.13.0" in str(table.value) for table in at.table)


@pytest.fixture
def polled(monkeypatch):
    """How often each fragment looks again, in the order they were drawn; None: never."""
    seen = []
    fragment = st.fragment

    def noted(function, *, run_every=None):
        seen.append(run_every)
        return fragment(function, run_every=run_every)

    monkeypatch.setattr(st, "fragment", noted)
    return seen


def tell(sessions, run, *lines):
    claimed = PartClaim(run.id, 0, PartKind.PROMPTS, 1, 0, 8)
    told = [SaidLine(time.monotonic(), LogLevel.STDOUT, line) for line in lines]
    with transaction(sessions) as session:
        log_lines.insert_lines(session, claimed, told, worker="here:1", kept=log_lines.Kept())


def test_the_logs_of_a_live_run_are_looked_at_again_and_again(visit, queued, sessions, polled):
    run = queued()
    at = visit("run", id=run.id, tab="Logs")
    assert words(at.code).endswith("run: queued")
    assert polled[-1] == 2
    tell(sessions, run, "hello", "**you**")
    at.run()
    assert words(at.code).splitlines()[1].endswith("part 0 on here:1: stdout: hello")
    assert words(at.code).endswith("stdout: **you**")
    assert f"headbook runs logs {str(run.id)[:8]} --follow" in words(at.caption)


def test_the_logs_of_a_run_that_has_ended_are_there_and_not_looked_at_again(
    visit, succeeded, sessions, polled, monkeypatch
):
    run = succeeded()
    tell(sessions, run, *map(str, range(30)))
    monkeypatch.setattr(results.log_lines, "_SETTLED", 3600)
    visit("run", id=run.id, tab="Logs")
    assert polled[-1] == 2  # workers may still write what was said before the end
    monkeypatch.setattr(results.log_lines, "_SETTLED", 0)
    monkeypatch.setattr(data, "TAIL", 10)
    at = visit("run", id=run.id, tab="Logs")
    assert polled[-2:] == [None, None]
    shown = words(at.code).splitlines()
    assert len(shown) == 10
    assert "The last 10 lines" in words(at.caption)


def test_a_run_that_waits_says_what_it_waits_for_and_can_be_cancelled(visit, queued, sessions):
    run = queued()
    at = visit("run", id=run.id)
    assert "No worker is running" in words(at.warning)
    assert "Scores appear when the run has succeeded" in words(at.info)
    press(at, "Cancel")
    assert not at.exception
    assert all_runs(sessions)[0].state is RunState.CANCELLED
    assert "cancelled by a person" in words(at.markdown)
    assert "so it has no scores" in words(at.info)
    assert not [each for each in at.button if each.label == "Cancel"]


@pytest.mark.parametrize("run_id", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_run_is_one_sentence(visit, run_id):
    assert f"Run '{run_id}' not found" in words(visit("run", id=run_id).error)


def test_the_page_without_a_run_leads_to_the_list(visit):
    assert "No run selected" in words(visit("run").info)


def test_mlflow_that_does_not_answer_is_one_sentence(visit, succeeded):
    st.cache_data.clear()
    at = visit("run", id=succeeded(mlflow=("1", "a")).id)
    assert "does not respond" in words(at.caption)


def test_a_password_in_mlflows_address_is_not_shown(visit, succeeded, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9/")
    at = visit("run", id=succeeded(mlflow=("1", "a")).id)
    (link,) = [each for each in at.get("link_button") if each.proto.label == "Open in MLflow"]
    assert link.proto.url == "http://127.0.0.1:9/#/experiments/1/runs/a"
    assert "secret" not in words(at.caption)


def heads_with(means, metric, site=""):
    heads = (Component(kind=Kind.HEAD, layer=0, index=index) for index in range(len(means)))
    return {
        ScoreKey(head, Quantity(metric, site)): (
            Statistics(n=8, skipped=0, mean=mean, sem=None, ci_low=None, ci_high=None),
            None,
        )
        for head, mean in zip(heads, means, strict=True)
    }


def test_the_strongest_of_an_order_are_its_first_and_a_rank_of_zero_is_named(visit, sessions):
    said = [
        ScoreDescription(
            metric="order",
            meaning="",
            better="low",
            where=((Kind.HEAD, ""),),
            no_interval="nobody measured it",
        ),
        ScoreDescription(metric="kept", meaning="", where=((Kind.HEAD, "q"),), x="the rank"),
    ]
    with transaction(sessions) as session:
        run = finished_run(
            session,
            add_model(session),
            add_distribution(session),
            scores=heads_with((3.0, 1.0, 2.0), "order") | heads_with((0.5,), "kept", site="q"),
            notes=RunNotes(headline=Quantity("order"), scores=tuple(said)),
        )
    at = visit("run", id=run.id)
    assert "The lowest of 3 heads" in words(at.markdown)
    assert at.dataframe[0].value["mean"].tolist() == [1.0, 2.0, 3.0]
    assert "order has no interval: nobody measured it." in words(at.caption)
    (metrics,) = [each for each in at.selectbox if each.label == "Metric"]
    assert metrics.options == ["order", "kept q x=0"]
    metrics.select("kept q x=0").run()
    assert "The strongest of 1 head**" in words(at.markdown)
    (chart,) = at.get("vega_lite_chart")
    domains = [
        json.loads(chart.proto.spec)["layer"][0]["encoding"][axis]["scale"]["domain"]
        for axis in ("x", "y")
    ]
    assert domains == [[0, 1, 2, 3], [2, 1, 0]]  # the model has three layers of four heads
