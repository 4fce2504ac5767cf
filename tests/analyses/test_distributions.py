"""The prompts of a distribution: balanced, traceable to characters, the same everywhere."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from analyses.errors import Refused
from analyses.prompts import items, templates
from analyses.prompts.distributions import DistributionSpec, build, recipes

GOLDEN = "e7965ac204e66494194cd10d73d15fc089be7124ac787becddc685c6b6a65cf8"

C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}

PRINT_DISTRIBUTION = """
import sys
from analyses.prompts.distributions import DistributionSpec, build
import json
assert not {"torch", "transformers"} & set(sys.modules)
print(json.dumps(build(DistributionSpec()).to_json()))
"""


@pytest.fixture(scope="module")
def distribution():
    return build(DistributionSpec())


def test_a_prompt_reads_as_its_template_says():
    rendered = templates.render(
        templates.find("chinchilla"),
        topic="geography",
        question="What is the capital of France?",
        labels="AB",
        options=["Rome", "Paris"],
    )
    assert rendered.text == (
        "A highly knowledgeable and intelligent AI answers multiple-choice questions about "
        "geography.\n\nWhat is the capital of France?\n(A) Rome\n(B) Paris\nAnswer: ("
    )


def test_spans_cut_out_labels_and_options(distribution):
    for prompt in distribution.prompts:
        assert tuple(prompt.text[slice(*span)] for span in prompt.label_spans) == prompt.labels
        assert tuple(prompt.text[slice(*span)] for span in prompt.option_spans) == prompt.options


def test_spans_do_not_mistake_the_question_for_an_option():
    rendered = templates.render(
        templates.find("chinchilla"),
        topic="{label}",
        question="(A) A {option}?",
        labels="AB",
        options=["{label} A", "A"],
    )
    start = rendered.text.index("\n(A) {label} A\n(B) A\n")
    assert [span.start - start for span in rendered.label_spans] == [2, 16]
    assert [span.start - start for span in rendered.option_spans] == [5, 19]


def test_the_correct_option_is_the_answer_and_the_others_are_false(distribution):
    for item, prompt in zip(distribution.items, distribution.prompts, strict=True):
        others = set(prompt.options) - {item.answer}
        assert prompt.item == item.id
        assert prompt.options[prompt.correct] == item.answer
        assert len(others) == 3
        assert others <= set(item.distractors)


def test_prompts_are_numbered_and_ask_every_item_once(distribution):
    assert [prompt.number for prompt in distribution.prompts] == list(range(64))
    assert len({prompt.item for prompt in distribution.prompts}) == 64


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("size", "counts"), [(64, [16] * 4), (7, [1, 2, 2, 2]), (1, [1])])
def test_the_correct_position_is_balanced(size, counts, seed):
    prompts = build(DistributionSpec(size=size, seed=seed)).prompts
    assert sorted(Counter(prompt.correct for prompt in prompts).values()) == counts


def test_a_sample_spreads_over_all_relations(distribution):
    counts = Counter(item.relation for item in distribution.items)
    assert set(counts.values()) == {64 // len(items.load_relations("facts"))}


def test_a_larger_size_keeps_the_items_of_a_smaller_one(distribution):
    assert set(distribution.items) < set(build(DistributionSpec(size=100)).items)


def test_every_item_can_be_used_at_once():
    whole = items.load_items("facts")
    assert set(build(DistributionSpec(size=len(whole))).items) == set(whole)


def test_processes_with_other_hash_seeds_and_locales_build_the_same_bytes(distribution):
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINT_DISTRIBUTION],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": utf8} | C_LOCALE,
            capture_output=True,
            check=True,
        ).stdout.strip()
        for seed, utf8 in [("0", "1"), ("12345", "0")]
    }
    assert printed == {json.dumps(distribution.to_json()).encode("ascii")}


def test_the_default_distribution_never_changes(distribution):
    assert distribution.hash == GOLDEN, "A change of prompts is meant? Then store the new hash."


def test_the_hash_follows_seed_and_size(distribution):
    specs = [DistributionSpec(), DistributionSpec(seed=1), DistributionSpec(size=63)]
    assert len({build(spec).hash for spec in specs}) == 3
    assert build(specs[0]).hash == distribution.hash


def test_the_hash_follows_the_template(distribution, monkeypatch):
    other = templates.Template(head="{question}\n", option="({label}) {option}\n", tail="Answer: (")
    monkeypatch.setitem(templates.TEMPLATES, "chinchilla", other)
    assert build(DistributionSpec()).hash != distribution.hash


def test_the_hash_follows_data_that_no_prompt_uses(distribution, monkeypatch):
    used = {item.id for item in distribution.items}
    fewer = items.load_items("facts")
    fewer.remove(next(item for item in fewer if item.id not in used))
    monkeypatch.setattr("analyses.prompts.distributions.load_items", lambda data: fewer)
    shorter = build(DistributionSpec())
    assert [prompt.text for prompt in shorter.prompts] == [
        prompt.text for prompt in distribution.prompts
    ]
    assert shorter.hash != distribution.hash


def test_plain_values_hold_all_that_a_reader_needs(distribution):
    plain = json.loads(json.dumps(distribution.to_json()))
    first, prompt = plain["prompts"][0], distribution.prompts[0]
    assert plain["name"] == "facts/chinchilla/ABCD"
    assert DistributionSpec(**plain["spec"]) == distribution.spec
    assert first["topic"] == distribution.items[0].topic
    assert first["options"] == list(prompt.options)
    assert first["label_spans"] == [list(span) for span in prompt.label_spans]
    assert set(first) == {*vars(prompt), "topic"}


@pytest.mark.parametrize("name", ["facts", "facts/chinchilla", "facts/chinchilla/ABCD"])
def test_a_name_may_leave_out_its_end(name):
    spec = DistributionSpec.parse(name, size=8, seed=3)
    assert spec == DistributionSpec(size=8, seed=3)
    assert spec.name == "facts/chinchilla/ABCD"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fact", "No data named 'fact'. Did you mean 'facts'? Known data: facts."),
        (
            "facts/chinchila",
            "No template named 'chinchila'. Did you mean 'chinchilla'? "
            "Known templates: chinchilla.",
        ),
        (
            "facts/chinchilla/ABCDE",
            "No labels named 'ABCDE'. Did you mean 'ABCD'? Known labels: ABCD.",
        ),
        ("facts/chinchilla/XYZ", "No labels named 'XYZ'. Known labels: ABCD."),
        (
            "facts/chinchilla/ABCD/64",
            "The distribution name 'facts/chinchilla/ABCD/64' has too many parts. "
            "A name is data/template/labels, such as 'facts/chinchilla/ABCD'.",
        ),
    ],
)
def test_an_unknown_name_says_what_was_meant(name, sentence):
    with pytest.raises(Refused) as refused:
        DistributionSpec.parse(name)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_an_impossible_size_says_how_many_items_there_are(size):
    available = len(items.load_items("facts"))
    with pytest.raises(Refused, match=rf"'facts' has {available} items\. .* from 1 to {available}"):
        DistributionSpec(size=size)


def test_a_spec_is_frozen_and_knows_its_fields():
    with pytest.raises(ValidationError, match="frozen"):
        DistributionSpec().seed = 1
    with pytest.raises(ValidationError, match="shots"):
        DistributionSpec(shots=1)


def test_recipes_name_what_is_shipped():
    assert [(recipe.name, recipe.items) for recipe in recipes()] == [
        ("facts/chinchilla/ABCD", len(items.load_items("facts")))
    ]
    assert all(DistributionSpec.parse(recipe.name) for recipe in recipes())
