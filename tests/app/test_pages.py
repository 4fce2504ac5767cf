"""The pages on a real database."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import app
from analyses.prompts.distributions import DistributionSpec
from app import data
from tracker import reports
from tracker.db import transaction
from tracker.domain import LogLevel, PartClaim, PartKind, Priority, RunState, SaidLine
from tracker.store import log_lines
from tracker.store import runs as run_store

MAIN = str(Path(app.__file__).with_name("main.py"))


@pytest.fixture
def visit(settings):
    """Opens a page of the app, as a browser does with the page's address."""

    def open_page(page="runs", **query):
        at = AppTest.from_file(MAIN, default_timeout=20)
        if page != "runs":
            at.run().switch_page(f"views/{page}.py")
        for name, value in query.items():
            at.query_params[name] = str(value)
        at.run()
        assert not at.exception
        return at

    return open_page


@pytest.fixture
def real_model(model, tmp_path):
    """A model whose tokenizer is there, which is all that queueing a run looks at."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path / "model"
    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: number for number, each in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").touch()
    return model("real", folder)


def all_runs(sessions):
    with transaction(sessions) as session:
        return reports.runs(session)


def words(elements):
    return " ".join(str(each.value) for each in elements)


def press(at, label):
    (button,) = [each for each in at.button if each.label.startswith(label)]
    return button.click().run()


# The list of runs


def test_the_first_visit_says_how_to_start(visit):
    at = visit()
    assert "Queue the first one" in words(at.info)
    assert "headbook worker" in words(at.warning)


def test_runs_are_listed_with_links_progress_and_reason(visit, succeeded, queued, sessions):
    done, waiting = succeeded(mlflow=("3", "abc")), queued()
    with transaction(sessions) as session:
        run_store.cancel(session, waiting.id)
    table = visit().dataframe[0].value.set_index("run")
    assert list(table.index) == [f"run?id={waiting.id}", f"run?id={done.id}"]
    assert table["progress"].tolist() == [0, 1]
    assert table["reason"].iloc[0] == "cancelled by a person"
    assert table["mlflow"].iloc[1] == "http://127.0.0.1:9/#/experiments/3/runs/abc"


def test_a_run_that_waits_for_another_says_for_which_and_leads_there(visit, queued):
    needed = queued()
    waiting = queued(inputs={"bases": needed.id})
    why = f"waiting for run {str(needed.id)[:8]} (attribution)"
    table = visit().dataframe[0].value.set_index("run")
    assert table["reason"].iloc[0] == why
    at = visit("run", id=waiting.id)
    assert why in words(at.markdown)
    (link,) = at.get("page_link")
    assert link.proto.label == f"bases: attribution {str(needed.id)[:8]}, queued"
    assert str(needed.id) in link.proto.query_string
    (link,) = visit("run", id=needed.id).get("page_link")
    assert str(waiting.id) in link.proto.query_string


def test_runs_are_filtered_by_state_in_the_address(visit, succeeded, queued):
    done = succeeded()
    queued()
    at = visit(state="succeeded")
    assert at.dataframe[0].value["run"].tolist() == [f"run?id={done.id}"]
    at = visit(state="failed")
    assert "Clear the filters" in words(at.info)


def test_selected_runs_are_cancelled(visit, queued, sessions):
    first, second = queued(), queued()
    at = visit()
    at.session_state["selected"] = [first.id]
    at.run()
    press(at, "Cancel 1")
    assert not at.exception
    states = {run.id: run.state for run in all_runs(sessions)}
    assert states == {first.id: RunState.CANCELLED, second.id: RunState.QUEUED}


def test_the_selection_follows_its_run_when_a_new_one_comes(visit, queued):
    first = queued()
    at = visit()
    at.session_state["selected"] = [first.id]
    at.run()
    assert at.session_state["runs"]["selection"]["rows"] == [0]
    queued()
    at.run()
    assert at.session_state["runs"]["selection"]["rows"] == [1]


def test_runs_that_are_in_mlflow_are_compared_there(visit, succeeded, queued):
    chosen = [succeeded(mlflow=("1", "a")), succeeded(mlflow=("2", "b")), queued()]
    at = visit()
    at.session_state["selected"] = [run.id for run in chosen]
    at.run()
    (link,) = [each for each in at.get("link_button") if each.proto.label == "Compare in MLflow"]
    assert not link.proto.disabled
    assert "#/compare-runs?runs=" in link.proto.url
    assert "1 of them not in MLflow" in words(at.caption)


def test_an_unreachable_database_is_one_sentence(visit, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    at = visit()
    assert "The database cannot be reached" in words(at.error)


def test_no_database_at_all_is_one_sentence(visit, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    assert "headbook up" in words(visit().error)


# The form


def test_without_a_model_the_form_says_how_to_add_one(visit):
    at = visit("queue_form")
    assert "No model was added yet" in words(at.info)
    assert "headbook models add REF" in words(at.code)


def test_the_form_queues_a_run(visit, real_model, worker, sessions):
    worker()
    at = visit("queue_form", analysis="attribution")
    assert not at.warning
    at.number_input(key="attribution.batch_size").set_value(4)
    (size,) = [each for each in at.number_input if each.label == "Number of prompts"]
    size.set_value(8)
    (study,) = [each for each in at.text_input if each.label == "Study"]
    study.input("first look")
    press(at, "Queue")
    assert not at.exception
    assert not at.error
    assert "The run is queued" in words(at.success)
    (run,) = all_runs(sessions)
    assert (run.model, run.n_prompts, run.params) == (
        "real",
        8,
        {"batch_size": 4, "prompts": "all"},
    )
    with transaction(sessions) as session:
        assert list(reports.run_detail(session, run.id).studies.values()) == ["first look"]
    assert "--prompts 8" in words(at.code)
    assert "--study 'first look'" in words(at.code)


def test_the_form_asks_how_prompts_are_made(visit, real_model, sessions):
    at = visit("queue_form")
    at.number_input(key="recipe.options").set_value(3)
    at.number_input(key="recipe.shots").set_value(1)
    at.selectbox(key="recipe.split").select("test")
    at.checkbox(key="recipe.prelude").uncheck()
    press(at, "Queue")
    assert "The run is queued" in words(at.success)
    assert "--no-prelude --options 3 --shots 1 --split test" in words(at.code)
    (run,) = all_runs(sessions)
    with transaction(sessions) as session:
        recipe = reports.run_detail(session, run.id).recipe
    spec = DistributionSpec(options=3, shots=1, split="test", prelude=False)
    assert recipe == spec.model_dump(mode="json")
    at = visit("run", id=run.id, tab="Repro")
    assert "--no-prelude --options 3 --shots 1 --split test" in words(at.code)


def test_the_same_request_leads_to_the_run_there_is_and_may_run_again(visit, real_model, sessions):
    at = visit("queue_form")
    press(at, "Queue")
    press(at, "Queue")
    assert "exists already" in words(at.info)
    assert len(all_runs(sessions)) == 1
    press(at, "Run again")
    assert "The run is queued" in words(at.success)
    assert len(all_runs(sessions)) == 2


def test_a_second_click_before_the_first_has_answered_makes_no_second_run(
    visit, real_model, sessions
):
    at = visit("queue_form")
    at.session_state["nonce"] = "one click"
    press(at, "Queue")
    at.session_state["nonce"] = "one click"
    (seed,) = [each for each in at.number_input if each.label == "Bootstrap seed"]
    seed.set_value(5)
    press(at, "Queue")
    assert len(all_runs(sessions)) == 1


def test_more_prompts_than_questions_ask_them_again(visit, real_model, sessions):
    at = visit("queue_form")
    (size,) = [each for each in at.number_input if each.label == "Number of prompts"]
    size.set_value(data.recipes()[0].items + 80)
    press(at, "Queue")
    assert not at.error
    (run,) = all_runs(sessions)
    assert run.n_prompts == data.recipes()[0].items + 80


def test_the_app_reads_no_file_that_a_visitor_names(visit, real_model, sessions, tmp_path):
    asked = {
        "analysis": "attribution",
        "model": "real",
        "distribution": f"file:{tmp_path / 'x.jsonl'}",
        "size": 1,
        "prompt_seed": 0,
        "recipe": {},
        "params": {},
        "seed": 0,
        "priority": Priority.NORMAL,
        "study": None,
        "nonce": "n",
        "force": False,
    }
    with pytest.raises(data.NotOffered, match="queue the run from the command line"):
        data.submit(**asked)
    assert all_runs(sessions) == []


def test_a_refusal_is_shown_as_its_sentence_and_nothing_is_written(visit, model, sessions):
    model("gone", "/nowhere/at/all")
    at = visit("queue_form")
    press(at, "Queue")
    assert "/nowhere/at/all" in words(at.error)
    assert not at.success
    assert all_runs(sessions) == []


SUBMIT = """
import sys
from streamlit.testing.v1 import AppTest
at = AppTest.from_file(sys.argv[1], default_timeout=20).run()
at.switch_page("views/queue_form.py").run()
next(button for button in at.button if button.label == "Queue").click().run()
at.switch_page("views/runs.py").run()
print([success.value for success in at.success], len(at.dataframe), "torch" in sys.modules)
assert not at.exception, at.exception
assert len(at.dataframe) == 1
assert "torch" not in sys.modules
assert "transformers" not in sys.modules
"""


def test_no_page_loads_torch(settings, real_model, sessions):
    command = (sys.executable, "-c", SUBMIT, MAIN)
    ended = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(all_runs(sessions)) == 1


# One run


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
    assert "The whole model" in words(at.markdown)
    assert len(at.dataframe) == 4
    events = visit("run", id=run.id, tab="Events").dataframe[0].value
    assert events["event"].iloc[-1] == "succeeded"
    at = visit("run", id=run.id, tab="Repro")
    assert "--prompts 8 --prompt-seed 0" in words(at.code)
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
    visit("run", id=run.id, tab="Logs")
    assert polled[-1] == 2  # workers may still write what was said before the end
    monkeypatch.setattr(reports.log_lines, "_SETTLED", 0)
    monkeypatch.setattr(data, "TAIL", 10)
    at = visit("run", id=run.id, tab="Logs")
    assert polled[-2:] == [None, None]
    shown = words(at.code).splitlines()
    assert len(shown) == 10
    assert "The last 10 lines" in words(at.caption)


def test_a_run_that_waits_says_what_it_waits_for_and_can_be_cancelled(visit, queued, sessions):
    run = queued()
    at = visit("run", id=run.id)
    assert "No worker is up" in words(at.warning)
    assert "The scores come when the run has succeeded" in words(at.info)
    press(at, "Cancel")
    assert not at.exception
    assert all_runs(sessions)[0].state is RunState.CANCELLED
    assert "cancelled by a person" in words(at.markdown)
    assert "it has no scores" in words(at.info)
    assert not [each for each in at.button if each.label == "Cancel"]


@pytest.mark.parametrize("run_id", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_run_is_one_sentence(visit, run_id):
    assert f"No run '{run_id}'" in words(visit("run", id=run_id).error)


def test_the_page_without_a_run_leads_to_the_list(visit):
    assert "Which run?" in words(visit("run").info)


def test_mlflow_that_does_not_answer_is_one_sentence(visit, succeeded):
    st.cache_data.clear()
    at = visit("run", id=succeeded(mlflow=("1", "a")).id)
    assert "does not answer" in words(at.caption)


def test_a_password_in_mlflows_address_is_not_shown(visit, succeeded, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9/")
    at = visit("run", id=succeeded(mlflow=("1", "a")).id)
    (link,) = [each for each in at.get("link_button") if each.proto.label == "Open in MLflow"]
    assert link.proto.url == "http://127.0.0.1:9/#/experiments/1/runs/a"
    assert "secret" not in words(at.caption)
