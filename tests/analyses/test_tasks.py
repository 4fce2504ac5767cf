"""The shipped tasks: their texts are read again, and say what the items say."""

import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from analyses.prompts import data_names, task_page, tasks
from analyses.prompts.completion_data import draw
from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.distributions import build
from analyses.prompts.items import load_relations
from analyses.prompts.spec import DistributionSpec
from analyses.prompts.streams import content_hash
from analyses.prompts.tokenization import (
    load_tokenizer,
    splits_years_after_the_century,
    tokenize_all,
)

ALL = [(each.name, which) for each in tasks.TASKS.values() for which in each.counterfactuals]

# Changes only if the items of a task are to change, which moves the hash of every recipe of it.
HASHES = {
    ("ioi", "swap"): "c321bba0507c1c7ac8d208e7bb7e7a269ce5d24aef9baebe80efdd8f29569787",
    ("ioi", "abc"): "ca802fe56953ce1439377d893b253b368af877e0f5ce924f2ed6e3df9456475a",
    ("greater_than", "01"): "2f187450f6c4d0a43b5a5c26ed8f947337c5d020eeb4bd0118bb5de5577acd16",
    (
        "greater_than_digits",
        "01",
    ): "9add3628035805502d2aad7383fe155b2b7b71a43fd38fa80e9af59740a7e023",
    ("capitals", "other"): "38bac773627b14bc13b84221f7ad04d44108c61ae623c4099fbd1a8a172a228d",
    ("languages", "other"): "5c064453ab558351b3566f0461fcf027ffbedc6b21199ea5ba9f4a8aedc9fcbc",
    ("opposites", "other"): "b6dd2f04dc3112f3381959383dce7a7306740bc7de31eaaee3810ff3a01a1fd3",
    ("arithmetic", "b"): "3aa26966d037b07c6bdaff0e91373ea02a3b5cd4bfb3620925130bac5f794d8d",
    ("arithmetic", "a"): "303973021cb43b75947c0744543a0e67a3cab4cfe296aa9fa1a600862062c538",
}


@pytest.fixture(params=ALL, ids="/".join)
def named(request) -> tuple[str, str]:
    name, counterfactual = request.param
    return name, counterfactual


@pytest.fixture
def items(named) -> tuple[CompletionItem, ...]:
    return tasks.items(*named)


def both(item: CompletionItem) -> tuple[Completion, Completion]:
    return item.asked, item.counterfactual


def said(completion: Completion, span: str) -> str:
    return completion.text[slice(*completion.spans[span])]


def right(completion: Completion) -> set[str]:
    return {completion.candidates[index] for index in completion.correct}


def around_the_spans(completion: Completion) -> str:
    text = completion.text
    for name, (start, stop) in sorted(completion.spans.items(), key=lambda each: -each[1].start):
        text = f"{text[:start]}<{name}>{text[stop:]}"
    return text


def test_a_task_has_hundreds_of_items_and_none_twice(items):
    assert len(items) >= 300
    assert len({item.id for item in items}) == len(items)
    assert len({item.asked.text for item in items}) == len(items)
    assert all(re.fullmatch(r"[^/]+/.+", item.id) for item in items)


def test_candidates_continue_the_text_and_some_but_not_all_are_correct(items):
    for each in chain.from_iterable(map(both, items)):
        assert each.text.strip() == each.text
        assert each.joint in (" ", "")
        assert [candidate.strip() for candidate in each.candidates] == list(each.candidates)
        assert 2 <= len(each.candidates) == len(set(each.candidates)) <= 100
        assert 1 <= len(set(each.correct)) == len(each.correct) < len(each.candidates)
        assert set(each.correct) <= set(range(len(each.candidates)))


def test_a_counterfactual_differs_in_named_spans_alone(items):
    for item in items:
        asked, other = both(item)
        assert asked.text != other.text
        assert around_the_spans(asked) == around_the_spans(other)
        assert (asked.candidates, asked.joint) == (other.candidates, other.joint)


def test_every_template_occurs_equally_often(items):
    counts = Counter(item.groups["template"] for item in items)
    assert len(counts) >= 8
    assert len(set(counts.values())) == 1


def test_what_names_the_task_is_there(named, items):
    task = tasks.task(named[0])
    assert all(task.key_site in each.spans for each in chain.from_iterable(map(both, items)))
    assert re.search(r"\d{4}, arXiv \d{4}\.\d{5}$", task.reference)


def test_the_items_are_the_same_on_every_machine(named, items):
    assert content_hash([_plain(item) for item in items]) == HASHES[named]


def _plain(item: CompletionItem) -> list[object]:
    completions = [
        [each.text, each.joint, each.candidates, each.correct, dict(each.spans)]
        for each in both(item)
    ]
    return [item.id, item.topic, item.unit, *completions, dict(item.groups)]


@pytest.fixture(scope="module")
def smollm2_tokenizer(smollm2) -> Tokenizer:
    return load_tokenizer(smollm2 / "tokenizer.json")


def grouping(digits: int) -> Tokenizer:
    """Reads numbers by groups of up to so many digits, and everything else letter by letter."""
    numbers = [f"{number:0{n}}" for n in range(2, digits + 1) for number in range(10**n)]
    pieces = [*map(chr, range(32, 127)), *numbers]
    made = Tokenizer(WordLevel({piece: id for id, piece in enumerate(pieces)}, unk_token=" "))
    made.pre_tokenizer = Split(Regex(rf"\d{{1,{digits}}}|."), "isolated")
    return made


@pytest.fixture(scope="module")
def two_digits() -> Tokenizer:
    """Reads years as GPT-2 does, whose exceptions, such as 1700, were found with it itself."""
    return grouping(2)


@pytest.mark.parametrize(("digits", "fits"), [(1, False), (2, True), (3, False), (4, False)])
def test_a_year_is_split_after_its_century_by_groups_of_two_digits(digits: int, fits: bool) -> None:
    assert splits_years_after_the_century(grouping(digits)) is fits


def test_the_variant_is_read_by_groups_of_three_digits() -> None:
    drawn = DistributionSpec(data="greater_than_digits", size=20)
    assert tokenize_all(grouping(3), build(drawn).prompts)


def test_a_candidate_is_one_token_and_a_counterfactual_has_as_many_tokens(
    smollm2_tokenizer, two_digits, named, items
):
    split_digits = tasks.task(named[0]).for_split_digits is None
    tokenizer = smollm2_tokenizer if split_digits else two_digits
    for index, item in enumerate(items):
        lengths = set()
        for each in both(item):
            tokens = _tokens(tokenizer, each.text)
            lengths.add(len(tokens))
            step = 1 + len(each.candidates) // 11  # all years would take long, in every item
            some = each.candidates[index % step :: step]
            continued = [each.text + each.joint + candidate for candidate in some]
            assert all(_tokens(tokenizer, text)[:-1] == tokens for text in continued), each
        assert len(lengths) == 1, item.asked.text


def _tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


FACTS = ("capitals", "languages", "opposites", "arithmetic")


def test_a_task_that_splits_no_digits_names_one_that_does():
    for task in tasks.TASKS.values():
        if task.for_split_digits:
            variant = tasks.task(task.for_split_digits)
            assert variant.for_split_digits is None
            assert variant.counterfactuals == task.counterfactuals
            assert variant.key_site == task.key_site


@pytest.mark.parametrize("name", tasks.TASKS)
def test_no_unit_is_asked_both_in_train_and_in_test(name):
    items = tasks.items(name, tasks.task(name).counterfactuals[0])
    units = {
        spec.split: {item.unit for item in draw(items, spec)}
        for spec in (DistributionSpec(data=name, split=each, size=45) for each in ("train", "test"))
    }
    assert units["train"].isdisjoint(units["test"])


@pytest.mark.parametrize(
    ("name", "counterfactual"),
    [(name, each) for name in FACTS for each in tasks.task(name).counterfactuals],
)
def test_what_is_learnt_from_reads_nothing_of_what_it_is_tested_on(name, counterfactual):
    items = tasks.items(name, counterfactual)
    train, test = (
        {
            item.unit
            for item in draw(
                items,
                DistributionSpec(data=name, split=split, counterfactual=counterfactual, size=45),
            )
        }
        for split in ("train", "test")
    )
    tested = {item.asked.text for item in items if item.unit in test}
    for item in items:
        if item.unit in test:
            continue
        assert item.counterfactual is not None
        assert item.counterfactual.text not in tested
        for solved in re.findall(r"(\d)\+(\d)=\d", item.asked.text):  # shots of one template
            assert "+".join(sorted(solved)) not in test
    assert train.isdisjoint(test)


def test_a_recipe_knows_the_name_of_every_task():
    assert tuple(tasks.TASKS) == data_names.TASKS


def test_an_unknown_task_and_an_unknown_counterfactual_are_refused_by_name():
    with pytest.raises(tasks.UnknownTask, match=r"No task named 'ioy'\. Did you mean 'ioi'"):
        tasks.task("ioy")
    with pytest.raises(tasks.UnknownCounterfactual, match="ioi has no counterfactual named 'abd'"):
        tasks.items("ioi", "abd")


NAME = re.compile(r"(?<!^)\b[A-Z][a-z]+")  # not the first word of the text


@pytest.mark.parametrize("counterfactual", ["swap", "abc"])
def test_who_is_named_once_is_given_to_and_who_is_named_twice_gives(counterfactual):
    for item in tasks.items("ioi", counterfactual):
        asked = item.asked
        first, second, giver = NAME.findall(asked.text)
        times = Counter((first, second, giver))
        (io,) = (name for name, count in times.items() if count == 1)
        assert (right(asked), set(asked.candidates)) == ({io}, {io, giver})
        assert (said(asked, "io"), said(asked, "s1"), said(asked, "s2")) == (io, giver, giver)
        assert asked.spans["s1"].start < asked.spans["s2"].start
        assert item.groups["order"] == ("ABBA" if (first, second) == (io, giver) else "BABA")


def test_swapped_persons_make_the_other_one_right():
    for item in tasks.items("ioi", "swap"):
        asked, other = both(item)
        io, giver = said(asked, "io"), said(asked, "s2")
        assert other.text == giver.join(part.replace(giver, io) for part in asked.text.split(io))
        assert right(other) == {giver}


def test_a_third_person_gives_in_abc_and_nothing_else_changes():
    for item in tasks.items("ioi", "abc"):
        asked, other = both(item)
        assert len(set(NAME.findall(other.text))) == 3
        assert NAME.findall(other.text)[:2] == NAME.findall(asked.text)[:2]
        assert right(other) == right(asked)


@pytest.mark.parametrize(("name", "of_decade"), [("greater_than", 2), ("greater_than_digits", 3)])
def test_every_later_year_is_correct_and_no_other_one(name, of_decade):
    for item in tasks.items(name, "01"):
        for each in both(item):
            (start,) = re.findall(r"\b\d{4}\b", each.text)
            (end,) = re.findall(r"\d+$", each.text)
            assert end == start[:of_decade]
            assert said(each, "century") + said(each, "year") == start
            assert right(each) == {
                candidate for candidate in each.candidates if int(end + candidate) > int(start)
            }
        assert said(item.counterfactual, "year")[of_decade - 2 :] in ("01", "1")


@pytest.mark.parametrize("name", ["capitals", "languages", "opposites"])
def test_a_fact_is_that_of_the_table_and_the_other_is_wrong(name):
    (table,) = (each for each in load_relations() if each.name == name)
    facts = {fact.subject: fact for fact in table.facts}
    for item in tasks.items(name, "other"):
        for each in both(item):
            (answer,) = right(each)
            (wrong,) = set(each.candidates) - {answer}
            fact = facts[said(each, "subject")]
            assert fact.answer == answer
            assert wrong not in fact.also_true


NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SUM = re.compile(r"(\w+)(?:\+| plus | and | added to )(\w+)\)?(?:=| is| make)")


def number(said: str) -> int:
    return NUMBERS.index(said) if said in NUMBERS else int(said)


@pytest.mark.parametrize(("counterfactual", "kept"), [("a", "b"), ("b", "a")])
def test_a_sum_is_right_and_was_not_solved_before(counterfactual, kept):
    for item in tasks.items("arithmetic", counterfactual):
        for each in both(item):
            *solved, asked = [tuple(map(number, found)) for found in SUM.findall(each.text)]
            assert (number(said(each, "a")), number(said(each, "b"))) == asked
            assert {number(answer) for answer in right(each)} == {sum(asked)}
            assert len(solved) == 3
            assert each is not item.asked or {asked, asked[::-1]}.isdisjoint(solved)
        assert said(item.asked, kept) == said(item.counterfactual, kept)


def test_the_page_of_tasks_is_what_the_code_says():
    root = Path(__file__).parents[2]
    assert (root / "docs/tasks.md").read_text() == task_page.page()
