"""The shipped tasks: their texts are read again, and say what the items say."""

import re
from collections import Counter
from itertools import chain

import pytest
from tokenizers import Tokenizer

from analyses.prompts import tasks
from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.option_sets import half
from analyses.prompts.streams import content_hash
from analyses.prompts.tokenization import load_tokenizer

ALL = [(each.name, which) for each in tasks.TASKS.values() for which in each.counterfactuals]

# Changes only if the items of a task are to change, which moves the hash of every recipe of it.
HASHES = {
    ("ioi", "swap"): "c321bba0507c1c7ac8d208e7bb7e7a269ce5d24aef9baebe80efdd8f29569787",
    ("ioi", "abc"): "ca802fe56953ce1439377d893b253b368af877e0f5ce924f2ed6e3df9456475a",
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


def test_every_template_occurs_equally_often_and_in_one_split_as_its_unit_does(items):
    counts = Counter(item.groups["template"] for item in items)
    assert len(set(counts.values())) == 1
    assert {half([item.unit]) for item in items} == {"train", "test"}


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
def tokenizer(smollm2) -> Tokenizer:
    return load_tokenizer(smollm2 / "tokenizer.json")


def test_smollm2_reads_a_candidate_as_one_token_and_as_many_in_the_counterfactual(
    tokenizer, named, items
):
    if tasks.task(named[0]).for_split_digits:
        pytest.skip("SmolLM2 reads numbers digit by digit; its variant is tested")
    for item in items:
        lengths = set()
        for each in both(item):
            tokens = _tokens(tokenizer, each.text)
            lengths.add(len(tokens))
            for candidate in each.candidates:
                *before, _ = _tokens(tokenizer, each.text + each.joint + candidate)
                assert before == tokens, (each.text, candidate)
        assert len(lengths) == 1, item.asked.text


def _tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


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
