"""The form asks for completions, shipped and a person's own, and shows their prompts."""

import json
import shlex

import byte_pairs
import pytest
from attacks import ATTACKS
from stored_runs import detail

from analyses.prompts.sources import Pair
from analyses.prompts.spec import DistributionSpec
from analyses.shown import in_markdown
from app import data
from app.views.choose_data import OWN
from tracker.domain import RunRequest

from .test_attacks_on_pages import is_harmless, seen
from .visiting import all_runs, press, words


@pytest.fixture
def roots(settings, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("HEADBOOK_DATA_ROOTS", str(folder))
    return folder


def own(visit, path, layout, **query):
    """The form, once own data are named."""
    at = visit("queue_form", distribution=OWN, **query)
    assert "Name a file" in words(at.info)
    at.text_input(key="own.data").set_value(f"file:{path}")
    at.selectbox(key="own.layout").select(layout)
    return at.run()


def few(at, prompts=4):
    (size,) = [each for each in at.number_input if each.label == "Number of prompts"]
    size.set_value(prompts)
    return at


def test_a_shipped_task_is_queued_with_the_counterfactual_that_was_chosen(
    visit, real_model, sessions
):
    at = few(visit("queue_form", analysis="patching", distribution="greater_than/01"))
    assert "Hanna et al. 2023" in words(at.caption)
    assert not [each for each in at.text_input if each.label in ("Template", "Labels")]
    press(at, "Queue")
    assert not at.error
    (run,) = all_runs(sessions)
    assert run.params["source"] == "paired"
    # The model's tokenizer reads bytes.
    assert run.recipe["data"] == "greater_than_digits"
    assert "since the tokenizer of real does not split years after the century" in words(at.caption)
    spec = DistributionSpec(data="greater_than_digits", counterfactual="01", size=4)
    assert run.recipe == spec.model_dump(mode="json")


@pytest.mark.parametrize("layout", byte_pairs.LAYOUTS)
def test_a_file_of_pairs_of_each_layout_is_queued(visit, real_model, sessions, roots, layout):
    path = byte_pairs.write(roots, layout)
    press(few(own(visit, path, layout, analysis="attribution")), "Queue")
    (run,) = all_runs(sessions)
    spec = DistributionSpec(data=f"file:{path}", layout=layout, size=4)
    assert run.recipe == spec.model_dump(mode="json")
    at = visit("run", id=run.id, tab="Repro")
    command = next(each.value for each in at.code if each.language == "bash")
    assert f"--distribution file:{path} --layout {layout}" in " ".join(shlex.split(command))
    assert detail(sessions, run.id).line.n_prompts == 4


def test_a_parameter_takes_its_default_from_the_task_that_was_chosen_last(visit, real_model):
    at = visit("queue_form", analysis="patching", distribution="ioi/swap")
    assert at.text_input(key="patching.ioi.key_site").value == "io"
    at.selectbox(key="distribution").set_value("capitals/other").run()
    assert at.text_input(key="patching.capitals.key_site").value == "subject"


def test_files_outside_the_data_roots_are_not_read(visit, real_model, sessions, roots, tmp_path):
    outside = byte_pairs.write(tmp_path, "pairs")
    at = press(few(own(visit, outside, "pairs", analysis="attribution")), "Queue")
    assert "outside the data roots" in words(at.error)
    (roots / "link.jsonl").symlink_to(outside)
    at = press(few(own(visit, roots / "link.jsonl", "pairs", analysis="attribution")), "Queue")
    assert "outside the data roots" in words(at.error)
    assert all_runs(sessions) == []


def test_without_data_roots_own_data_are_not_offered(visit, real_model, sessions, tmp_path):
    at = visit("queue_form")
    assert OWN not in at.selectbox(key="distribution").options
    path = byte_pairs.write(tmp_path, "pairs")
    recipe = DistributionSpec(data=f"file:{path}", layout="pairs", size=4)
    request = RunRequest(analysis="attribution", model="real", recipe=recipe)
    with pytest.raises(data.NotOffered):
        data.submit(request, nonce="n")
    with pytest.raises(data.NotOffered):
        data.shown(recipe)


def test_the_first_prompts_are_shown_next_to_their_counterfactuals(visit, real_model):
    at = visit("queue_form", analysis="attribution", distribution="ioi/abc")
    at.toggle(key="prompts").set_value(True).run()
    made = data.shown(DistributionSpec(data="ioi", counterfactual="abc"))
    texts = [each.value for each in at.code]
    for pair in made:
        assert isinstance(pair, Pair)
        assert {pair.base.text, pair.source.text} <= set(texts)
    first = made[0]
    assert isinstance(first, Pair)
    told = words(at.caption)
    assert in_markdown(f"correct: {first.base.correct_labels[0]}") in told
    assert "order=" in told


def test_what_a_file_of_pairs_holds_is_shown_as_text_alone(visit, real_model, roots):
    lines = [each for each in ATTACKS.values() if each.strip() and len(each) < 100]
    rows = [
        {
            "prompt": f"{each} {number} said (",
            "correct": each,
            "others": f"not {each}",
            "spans": {"it": str(number) + " said"},
            "group": each,
        }
        for number, each in enumerate(lines)
        if each.strip(" ") == each and each.isprintable()
    ]
    path = roots / "attacks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    at = own(visit, path, "pairs", analysis="attribution")
    at.text_input(key="recipe.group_columns").set_value("group")
    at.toggle(key="prompts").set_value(True)
    press(few(at, len(rows)), "Queue")
    assert len(at.code) > 3
    for source in seen(at):
        assert is_harmless(source), source
