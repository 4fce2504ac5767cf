"""The form that queues runs, on a real database."""

import subprocess
import sys

import pytest
from stored_runs import detail

from analyses.prompts.distributions import DistributionSpec
from app import data
from tracker.domain import RunRequest

from .visiting import MAIN, all_runs, press, words


def test_without_a_model_the_form_says_how_to_add_one(visit):
    at = visit("queue_form")
    assert "No models yet" in words(at.info)
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
    assert list(detail(sessions, run.id).studies.values()) == ["first look"]
    assert "--prompts 8" in words(at.code)
    assert "--study 'first look'" in words(at.code)


def test_the_form_asks_how_prompts_are_made(visit, real_model, sessions):
    at = visit("queue_form")
    at.number_input(key="recipe.options").set_value(3)
    at.number_input(key="recipe.shots").set_value(1)
    at.selectbox(key="recipe.attention.split").select("test")
    at.selectbox(key="recipe.option_references").select("keep")
    at.checkbox(key="recipe.prelude").uncheck()
    press(at, "Queue")
    assert "The run is queued" in words(at.success)
    assert "--split test --option-references keep" in words(at.code)
    (run,) = all_runs(sessions)
    recipe = detail(sessions, run.id).line.recipe
    spec = DistributionSpec(
        options=3, shots=1, split="test", prelude=False, option_references="keep"
    )
    assert recipe == spec.model_dump(mode="json")
    at = visit("run", id=run.id, tab="Repro")
    assert "--split test --option-references keep" in words(at.code)


@pytest.mark.parametrize("name", ["subspace", "label_randomisation", "attribution"])
def test_the_form_queues_every_analysis_as_it_stands(visit, real_model, sessions, name):
    at = visit("queue_form", analysis=name, distribution="colours/chinchilla/ABCD")
    if name == "label_randomisation":  # the model has no tokens for all symbols
        at.text_input(key=f"{name}.mutations").set_value("shuffled")
    press(at, "Queue")
    assert not at.error
    assert "The run is queued" in words(at.success)
    (run,) = [each for each in all_runs(sessions) if each.analysis == name]
    usual = "all" if name == "attribution" else "test"
    assert run.recipe["split"] == usual
    assert f"--split {usual}" in words(at.code)
    assert ("'test' split" in words(at.caption)) == (usual == "test")


def test_the_same_request_leads_to_the_run_there_is_and_may_run_again(visit, real_model, sessions):
    at = visit("queue_form")
    press(at, "Queue")
    press(at, "Queue")
    assert "already exists" in words(at.info)
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
    recipe = DistributionSpec(data=f"file:{tmp_path / 'x.jsonl'}", size=1)
    request = RunRequest(analysis="attribution", model="real", recipe=recipe)
    with pytest.raises(data.NotOffered, match="queue the run from the command line"):
        data.submit(request, nonce="n")
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
