"""The shipped questions: nothing repeated, nothing untidy, and no wrong option that is true."""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import replace

import pytest

from analyses.errors import Refused
from analyses.prompts.items import digest, load_items, load_relations
from analyses.prompts.streams import content_hash

RELATIONS = load_relations()
ITEMS = {item.id: item for item in load_items("facts")}


def repeated(values):
    return [value for value, count in Counter(values).items() if count > 1]


def test_there_are_hundreds_of_items_from_many_relations():
    assert len(ITEMS) > 320
    assert 12 <= len(RELATIONS) <= 16
    assert all(20 <= len(relation.facts) <= 35 for relation in RELATIONS)


def test_no_item_repeats():
    items = load_items("facts")
    assert not repeated(item.id.casefold() for item in items)
    assert not repeated(item.question.casefold() for item in items)


def test_a_subject_stands_once_in_its_table():
    for relation in RELATIONS:
        assert not repeated(fact.subject.casefold() for fact in relation.facts), relation.name


def test_no_distractor_is_also_true():
    for relation in RELATIONS:
        truth: dict[str, set[str]] = {}
        for fact in relation.facts:
            true = truth.setdefault(fact.subject.casefold(), set())
            true |= {each.casefold() for each in {fact.answer, *fact.also_true}}
        for fact in relation.facts:
            offered = {
                each.casefold() for each in ITEMS[f"{relation.name}/{fact.subject}"].distractors
            }
            assert not offered & truth[fact.subject.casefold()], fact


def test_distractors_are_all_other_answers_of_the_table():
    cat = ITEMS["young_animals/cat"]
    table = next(relation for relation in RELATIONS if relation.name == cat.relation)
    others = {fact.answer for fact in table.facts} - {"kitten", "kit"}
    assert cat.distractors == tuple(sorted(others))


def test_what_is_also_true_is_an_answer_of_the_same_table():
    for relation in RELATIONS:
        answers = {fact.answer for fact in relation.facts}
        for fact in relation.facts:
            assert fact.also_true <= answers - {fact.answer}, fact


def test_every_item_has_enough_distractors_that_differ():
    for item in ITEMS.values():
        assert len(item.distractors) >= 3, item.id
        assert not repeated(each.casefold() for each in (item.answer, *item.distractors)), item.id


def test_every_text_is_tidy():
    for relation in RELATIONS:
        texts = {relation.name, relation.topic, relation.question}
        for fact in relation.facts:
            texts |= {fact.subject, fact.answer, *fact.also_true}
        for text in texts:
            assert text, relation.name
            assert text == " ".join(text.split()), text
            assert text.isprintable(), text
            assert text == unicodedata.normalize("NFC", text), text
    assert all(re.fullmatch(r"\S.*\?", item.question) for item in ITEMS.values())


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        ("capitals/Australia", "Canberra"),
        ("state_capitals/New York", "Albany"),
        ("landmarks/the Taj Mahal", "Agra"),
        ("currencies/Poland", "zloty"),
        ("languages/Brazil", "Portuguese"),
        ("element_symbols/W", "tungsten"),
        ("books/Moby-Dick", "Herman Melville"),
        ("paintings/Las Meninas", "Diego Velázquez"),
        ("music/The Planets", "Gustav Holst"),
        ("discoveries/discovering the neutron", "James Chadwick"),
        ("moons/Triton", "Neptune"),
        ("young_animals/swan", "cygnet"),
        ("sciences/mosses", "bryology"),
        ("deities/the rainbow", "Iris"),
        ("opposites/transparent", "opaque"),
        ("counts/sides does a hexagon have", "6"),
    ],
)
def test_the_answer_is_right(item, answer):
    assert ITEMS[item].answer == answer


def test_the_question_is_put_together_from_subject_and_relation():
    france = ITEMS["capitals/France"]
    assert (france.question, france.topic) == ("What is the capital of France?", "geography")


def test_the_digest_follows_every_field():
    items = load_items("facts")
    france = items[0]
    changed = [
        replace(france, id="capitals/Gaul"),
        replace(france, topic="history"),
        replace(france, question="Which city is the capital of France?"),
        replace(france, answer="Lyon"),
        replace(france, distractors=france.distractors[1:]),
    ]
    assert len({digest([each, *items[1:]]) for each in [france, *changed]}) == 6


def test_a_content_hash_does_not_depend_on_the_order_of_keys():
    assert content_hash({"a": 1, "b": "é"}) == content_hash(json.loads('{"b": "\\u00e9", "a": 1}'))


def test_unknown_data_says_what_was_meant():
    with pytest.raises(Refused, match=r"No data named 'fact'\. Did you mean 'facts'\? Known data"):
        load_items("fact")


def test_a_data_name_is_never_a_path():
    with pytest.raises(Refused, match="Known data: facts, colours"):
        load_items("../data/facts")


def test_an_object_has_the_colour_that_the_question_tells():
    colours = load_items("colours")
    assert len(colours) == 504
    assert not repeated(item.question for item in colours)
    for item in colours:
        thing, colour = item.id.split("/")
        assert item.answer == colour
        assert f"the {thing}" in item.question.lower() or f"my {thing}" in item.question.lower()
        assert re.findall("|".join((colour, *item.distractors)), item.question) == [colour]
        assert len({item.answer, *item.distractors}) == 12


def test_a_colour_is_asked_for_in_several_ways():
    def form(item):
        thing, colour = item.id.split("/")
        return re.sub(rf"\b{thing}\b", "thing", item.question).replace(colour, "hue")

    counts = Counter(form(item) for item in load_items("colours"))
    assert len(counts) == 4
    assert min(counts.values()) > 80
