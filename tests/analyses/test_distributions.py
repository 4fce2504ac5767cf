"""The prompts of a distribution: balanced, traceable to characters, the same everywhere."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from questions import questions

from analyses.prompts import items
from analyses.prompts.distributions import DistributionSpec, SizeOutOfRange, build, recipes
from analyses.prompts.option_sets import half
from analyses.prompts.tasks import TASKS

GOLDEN = [
    "70ede75938e1f5d9f2625632b27dcd984263d783faa57c83a76b9d59b0b221cb",
    "eee8433c7028cb2d0ddc80c3240703cf543aa556fd2be565ac15721730d1b690",
]

C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}

PRINT_DISTRIBUTION = """
import sys
from analyses.prompts.distributions import DistributionSpec, build
import json
assert not {"torch", "transformers"} & set(sys.modules)
print(json.dumps(build(DistributionSpec()).to_json()))
print(json.dumps(build(DistributionSpec(%s)).to_json()))
"""
MUCH = {
    "data": "colours",
    "template": "mmlu",
    "labels": "random_letters",
    "options": 7,
    "shots": 3,
    "split": "test",
    "seed": 5,
    "size": 600,
}


@pytest.fixture(scope="module")
def distribution():
    return build(DistributionSpec())


def test_spans_cut_out_labels_and_options(distribution):
    for prompt in distribution.prompts:
        assert tuple(prompt.text[slice(*span)] for span in prompt.label_spans) == prompt.labels
        assert tuple(prompt.text[slice(*span)] for span in prompt.option_spans) == prompt.options


def test_the_correct_option_is_the_answer_and_the_others_are_false(distribution):
    for item, prompt in zip(distribution.items, distribution.prompts, strict=True):
        others = set(prompt.options) - {item.answer}
        assert prompt.item == item.id
        assert prompt.options[prompt.correct_option] == item.answer
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
    assert set(counts.values()) == {64 // len(items.load_relations())}


def test_a_larger_size_keeps_the_items_of_a_smaller_one(distribution):
    assert set(distribution.items) < set(build(DistributionSpec(size=100)).items)


def test_every_item_can_be_used_at_once():
    whole = items.load_items("facts")
    assert set(build(DistributionSpec(size=len(whole))).items) == set(whole)


def test_processes_with_other_hash_seeds_and_locales_build_the_same_bytes(distribution):
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINT_DISTRIBUTION % f"**{MUCH!r}"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": utf8} | C_LOCALE,
            capture_output=True,
            check=True,
        ).stdout.strip()
        for seed, utf8 in [("0", "1"), ("12345", "0")]
    }
    both = [distribution, build(DistributionSpec(**MUCH))]
    assert printed == {"\n".join(json.dumps(each.to_json()) for each in both).encode("ascii")}


def test_shipped_distributions_never_change(distribution):
    hashes = [distribution.hash, build(DistributionSpec(**MUCH)).hash]
    assert hashes == GOLDEN, "A change of prompts is meant? Then store the new hashes."


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"size": 63},
        {"template": "mmlu"},
        {"labels": "numbers"},
        {"labels": "list:A,B,C,E"},
        {"separators": "A."},
        {"prelude": False},
        {"options": 3},
        {"shots": 1},
        {"split": "train"},
        {"data": "colours"},
    ],
)
def test_the_hash_follows_every_field(distribution, change):
    changed = build(DistributionSpec(**change))
    assert changed.hash != distribution.hash
    assert changed.prompts != distribution.prompts
    assert build(DistributionSpec(**change)).hash == changed.hash


def test_the_same_prompts_under_another_name_have_the_same_hash(distribution):
    assert build(DistributionSpec(separators="(A)")).hash == distribution.hash


def test_the_hash_follows_data_that_no_prompt_uses(distribution, monkeypatch):
    used = {item.id for item in distribution.items}
    fewer = items.load_items("facts")
    fewer.remove(next(item for item in fewer if item.id not in used))
    monkeypatch.setattr("analyses.prompts.data.load_items", lambda data: fewer)
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


def test_recipes_name_what_is_shipped():
    made = recipes()
    assert [recipe.name for recipe in made[:2]] == [
        "facts/chinchilla/ABCD",
        "facts/chinchilla/random_letters",
    ]
    of_questions = [recipe for recipe in made if recipe.name.count("/") == 2]
    assert {recipe.items for recipe in of_questions} == {520, 504}
    assert len(of_questions) == 2 * 2 * 6
    assert {recipe.name for recipe in made} - {recipe.name for recipe in of_questions} == {
        f"{task.name}/{which}" for task in TASKS.values() for which in task.counterfactuals
    }
    assert all(DistributionSpec.parse(recipe.name).name == recipe.name for recipe in made)


@pytest.mark.parametrize("split", ["all", "train", "test"])
@pytest.mark.parametrize("options", [2, 3, 7, 10])
def test_the_correct_position_is_balanced_exactly_in_every_split(split, options):
    spec = DistributionSpec(split=split, options=options, size=options * 30)
    counts = Counter(prompt.correct_option for prompt in questions(spec).prompts)
    assert counts == dict.fromkeys(range(options), 30)


def option_sets(built):
    return {frozenset(each.options) for plan in built.plans for each in (plan.asked, *plan.shots)}


@pytest.mark.parametrize("data", ["facts", "colours"])
@pytest.mark.parametrize("options", [2, 4, 9])
def test_train_and_test_never_share_a_set_of_options(data, options):
    def sets(split):
        asked = {"data": data, "options": options, "split": split, "size": 400, "shots": 2}
        builds = (build(DistributionSpec(**asked, seed=seed)) for seed in range(3))
        return set().union(*(option_sets(each) for each in builds))

    train, test = sets("train"), sets("test")
    assert min(len(train), len(test)) > 5
    assert not train & test


def test_a_fact_is_known_in_both_splits():
    train, test = (build(DistributionSpec(split=each, size=490)) for each in ("train", "test"))
    assert len({item.id for item in train.items} & {item.id for item in test.items}) > 450


def test_one_set_of_options_in_five_is_for_testing():
    sets = option_sets(build(DistributionSpec(size=10_000)))
    share = sum(half(each) == "test" for each in sets) / len(sets)
    assert share == pytest.approx(0.2, abs=0.02)


def test_more_prompts_than_items_ask_items_again_beside_other_options():
    built = questions(DistributionSpec(data="colours", options=3, size=3000))
    asked = Counter((plan.asked.item.id, frozenset(plan.asked.options)) for plan in built.plans)
    assert set(asked.values()) == {1}
    assert len({prompt.text for prompt in built.prompts}) == 3000
    assert set(Counter(item.id for item in built.items).values()) == {5, 6}


def test_the_last_set_of_options_is_drawn_and_then_no_more():
    available = 504 * 11  # every colour beside every other
    whole = build(DistributionSpec(data="colours", options=2, size=available))
    assert len({prompt.text for prompt in whole.prompts}) == available
    with pytest.raises(
        SizeOutOfRange, match=r"'colours' has 504 items.* 5544 different prompts .*1 to 5544"
    ):
        build(DistributionSpec(data="colours", options=2, size=available + 1))


def test_items_without_enough_distractors_are_left_out_and_counted():
    built = build(DistributionSpec(options=6))
    assert built.left_out == 26
    assert "moons" not in {item.relation for item in built.items}
    assert build(DistributionSpec(options=5)).left_out == 0


def test_both_halves_together_are_the_whole():
    def sets(split, size):
        asked = DistributionSpec(data="colours", options=2, size=size, split=split)
        return option_sets(build(asked))

    whole = sets("all", 5544)
    train = {each for each in whole if half(each) == "train"}
    n_train = 2 * 42 * len(train)  # of 42 objects, with either as the colour
    assert sets("train", n_train) == train
    assert sets("test", 5544 - n_train) == whole - train
