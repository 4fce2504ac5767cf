"""Draws are uniform, never repeat where they must not, and never change."""

from collections import Counter
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.prompts.items import Item
from analyses.prompts.option_sets import OptionSets, half
from analyses.prompts.streams import Stream, content_hash, content_hash_of_all

KNOWN = [286, 447, 625, 669, 474, 405]
KNOWN_LARGE = 496837586224287860433325266894


def test_a_stream_never_changes():
    stream = Stream(0, "purpose", "é\u2028")
    assert [stream.below(1000) for _ in range(6)] == KNOWN
    assert Stream(1).below(10**30) == KNOWN_LARGE


def test_keys_are_kept_apart():
    assert len({Stream(*key).below(2**32) for key in [("a", "b"), ("ab",), ("b", "a"), (1,)]}) == 4
    assert Stream("1").below(2**32) != Stream(1).below(2**32)


def test_numbers_are_uniform():
    stream = Stream("uniform")
    counts = Counter(stream.below(7) for _ in range(7000))
    assert set(counts) == set(range(7))
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 22.5  # chi², p = 0.001


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=20), st.data())
def test_a_sample_holds_none_twice(values, data):
    k = data.draw(st.integers(0, len(values)))
    drawn = Stream("sample", len(values)).sample(values, k)
    assert len(set(drawn)) == k
    assert set(drawn) <= set(values)


@pytest.mark.parametrize("options", [2, 3, 5, 7])
def test_every_set_of_options_comes_once_in_its_half(options):
    distractors = tuple("bcdefg")
    item = Item(id="x", topic="t", question="?", answer="a", distractors=distractors)
    drawn = {}
    for split in ("all", "train", "test"):
        sets = OptionSets(item, options=options, split=split, seed=0)
        found = [sets.get(number) for number in range(comb(6, options - 1) + 1)]
        drawn[split] = [frozenset(each) for each in found if each is not None]
        assert len(set(drawn[split])) == len(drawn[split])
    every = {frozenset(each) for each in combinations(distractors, options - 1)}
    assert set(drawn["all"]) == every
    for split in ("train", "test"):
        assert set(drawn[split]) == {each for each in every if half(["a", *each]) == split}


@pytest.mark.parametrize("values", [[], ["a"], [["é", 1], {"b": None, "a": [1.5]}]])
def test_the_hash_of_all_values_is_that_of_their_list(values):
    assert content_hash_of_all(iter(values)) == content_hash(values)
