"""Label schemes: as many labels as options, all different, and each scheme as it is described."""

import time
from pathlib import Path
from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.errors import Refused
from analyses.prompts import labels
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.labels import SCHEMES, SYMBOLS
from analyses.prompts.locating import places
from analyses.prompts.question_places import QuestionPlaces
from analyses.prompts.separators import SEPARATORS
from analyses.prompts.streams import Stream
from analyses.prompts.tokenization import load_tokenizer, tokenize_all

OPTIONS = st.integers(2, 10)


@given(st.sampled_from(sorted(SCHEMES)), OPTIONS, st.integers(0, 1000))
def test_labels_are_as_many_as_options_and_all_different(name, k, seed):
    drawn = labels.draw(name, k, Stream(seed))
    assert len(set(drawn)) == len(drawn) == k
    assert drawn == labels.draw(name, k, Stream(seed))


@given(OPTIONS, st.integers(0, 1000))
def test_each_scheme_draws_what_it_says(k, seed):
    def draw(name):
        return labels.draw(name, k, Stream(seed))

    first = tuple(ascii_uppercase[:k])
    assert draw("ABCD") == first
    assert set(draw("random_letters")) <= set(ascii_uppercase)
    assert sorted(draw("shuffled")) == list(first)
    assert draw("shuffled") != first
    assert "".join(draw("ordered_letters")) in ascii_uppercase
    assert draw("numbers") == tuple(map(str, range(1, k + 1)))
    assert draw("symbols") == SYMBOLS[:k]
    assert draw("list:z, y,x,w,v,u,t,s,r,qq,p") == ("z", *"yxwvutsr", "qq")[:k]


def test_draws_reach_every_letter_and_every_start():
    drawn = [labels.draw("random_letters", 4, Stream(seed)) for seed in range(300)]
    assert set().union(*drawn) == set(ascii_uppercase)
    starts = {labels.draw("ordered_letters", 4, Stream(seed))[0] for seed in range(600)}
    assert starts == set(ascii_uppercase[:23])
    orders = {labels.draw("shuffled", 3, Stream(seed)) for seed in range(100)}
    assert len(orders) == 5


@given(st.lists(st.sampled_from(ascii_uppercase), min_size=1, max_size=13, unique=True))
def test_other_letters_are_none_of_the_labels(base):
    other = labels.other_letters(base, Stream(0))
    assert len(set(other)) == len(base)
    assert not set(other) & set(base)


def test_more_than_thirteen_letters_have_no_others():
    with pytest.raises(Refused, match="only 12 of A to Z are left"):
        labels.other_letters(ascii_uppercase[:14], Stream(0))


@pytest.mark.parametrize("separators", sorted(SEPARATORS))
@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"numbers"}))
def test_ten_labels_of_a_scheme_are_ten_tokens_of_a_real_tokenizer(
    smollm2: Path, scheme: str, separators: str
):
    """Offered in their lines and asked for at the end; of numbers, 10 is two tokens."""
    tokenizer = load_tokenizer(smollm2 / "tokenizer.json")
    spec = DistributionSpec(labels=scheme, separators=separators, options=10, shots=1, size=20)
    prompts = build(spec).prompts
    for prompt, tokenized in zip(prompts, tokenize_all(tokenizer, prompts), strict=True):
        joint = "" if separators == "(A)" else " "
        read = [tokenizer.decode([id]) for id in tokenized.label_ids]
        assert read == [joint + label for label in prompt.labels]
        found = places(tokenizer, prompt)
        assert isinstance(found, QuestionPlaces)
        offered = [tokenizer.decode([tokenized.input_ids[each.label]]) for each in found.options]
        assert [each.strip() for each in offered] == list(prompt.labels)


def test_nine_numbers_are_nine_tokens_and_ten_are_refused_by_name(smollm2: Path):
    tokenizer = load_tokenizer(smollm2 / "tokenizer.json")
    assert tokenize_all(tokenizer, build(DistributionSpec(labels="numbers", options=9)).prompts)
    with pytest.raises(Refused, match="'10' is not one token"):
        tokenize_all(tokenizer, build(DistributionSpec(labels="numbers", options=10)).prompts)


def test_ten_thousand_prompts_are_built_and_tokenised_in_ten_seconds(smollm2: Path):
    tokenizer = load_tokenizer(smollm2 / "tokenizer.json")
    began = time.process_time()
    read = tokenize_all(tokenizer, build(DistributionSpec(size=10_000, template="mmlu")).prompts)
    assert len(read) == 10_000
    assert time.process_time() - began < 10
