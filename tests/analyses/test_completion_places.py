"""Every place of a completion is the token it says, for tokenizers of four kinds."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tokenizers import MADE, WORDS

from analyses.prompts.completion_places import CompletionPlaces
from analyses.prompts.completions import Completion
from analyses.prompts.locating import places
from analyses.prompts.places import NoSuchSite
from analyses.prompts.prompt import CompletionPrompt, completion_prompt
from analyses.prompts.tokenization import tokenize
from analyses.prompts.written import Span

KINDS = [*MADE, "smollm2"]


def completed(text, spans, candidates=("A", "B"), correct=(0,)) -> CompletionPrompt:
    completion = Completion(
        text=text, joint=" ", candidates=tuple(candidates), correct=tuple(correct), spans=spans
    )
    return completion_prompt(3, "x/y", completion, {})


def check(tokenizer, made) -> CompletionPlaces:
    """Compare the places with the tokens of each character, one by one."""
    read = tokenize(tokenizer, made).input_ids
    found = places(tokenizer, made)
    assert isinstance(found, CompletionPlaces)
    offsets = tokenizer.encode(made.text, add_special_tokens=False).offsets
    before, final = len(read) - len(offsets), len(read) - 1
    tokens = {}
    for name, (start, stop) in made.spans.items():
        holders = [n for n, (a, b) in enumerate(offsets) if a < stop and b > start]
        tokens[name] = set(range(before + holders[0], before + holders[-1] + 1))
    assert (found.number, found.final, found.sites) == (3, final, tuple(made.spans))
    assert {name: found.at(name) for name in made.spans} == {
        name: (max(held),) for name, held in tokens.items()
    }
    end = max((max(held) for held in tokens.values()), default=final)
    groups: dict[str, set[int]] = {name: set() for name in (*made.spans, "last", "rest")}
    for token in range(len(read)):
        first = next((name for name, held in tokens.items() if token in held), None)
        groups[first or ("last" if token > end else "rest")].add(token)
    said = {name: made.text[slice(*span)].strip() for name, span in made.spans.items()}
    right = {made.labels[index] for index in made.correct}

    def of(labels) -> set[int]:
        return {token for name, held in tokens.items() if said[name] in labels for token in held}

    groups["correct_label"] = of(right)
    groups["other_labels"] = of(set(made.labels) - right) - of(right)
    assert found.key_groups(made.correct) == groups
    free = set(range(final)) - set().union(*tokens.values())
    assert found.filler == tuple(sorted(free or range(len(read))))
    return found


def words_of(text) -> list[tuple[int, int]]:
    return [each.span() for each in re.finditer(r"\S+", text)]


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=2, max_size=12),
    cuts=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 3)), max_size=4),
    several=st.booleans(),
    which=st.sampled_from(KINDS),
)
def test_spans_are_the_tokens_of_their_characters(tokenizers, words, cuts, several, which):
    text = " ".join(words)
    where = words_of(text)
    spans = {}
    for number, (start, length) in enumerate(cuts):
        inside = where[start % len(where) :][:length]
        spans[f"span{number}"] = Span(inside[0][0], inside[-1][1])
    correct = (0, 2) if several else (1,)
    check(tokenizers[which], completed(text, spans, ("A", "B", "Q"), correct))


@pytest.mark.parametrize("which", KINDS)
def test_groups_of_two_names_of_which_one_is_said_twice(tokenizers, which):
    text = "What is A or B ? B is the capital of"
    spans = {name: Span(at, at + 1) for name, at in (("io", 8), ("s1", 13), ("s2", 17))}
    tokenizer = tokenizers[which]
    made = completed(text, spans)
    found = check(tokenizer, made)
    ids = tokenize(tokenizer, made).input_ids
    groups = found.key_groups(made.correct)
    for name, said in (("io", "A"), ("s1", "B"), ("s2", "B")):
        (place,) = found.at(name)
        assert tokenizer.decode([ids[place]]).strip() == said
        assert groups[name] == {place}
    assert groups["correct_label"] == groups["io"]
    assert groups["other_labels"] == groups["s1"] | groups["s2"]
    assert "of".endswith(tokenizer.decode([ids[found.final]]).strip())
    assert {0} <= groups["rest"]  # <s>, if there is one, or the first word


def test_a_special_token_in_front_moves_all_places_by_one(tokenizers):
    plain, made = tokenizers["unigram"], completed("A is B", {"a": Span(0, 1), "b": Span(5, 6)})
    found = check(plain, made)
    assert tokenize(plain, made).input_ids[0] == plain.token_to_id("<s>")
    assert found.at("a")[0] >= 1
    assert 0 in found.key_groups((0,))["rest"]


def test_a_token_of_two_spans_is_in_the_group_of_the_first(tokenizers):
    spans = {"whole": Span(0, 6), "part": Span(5, 6)}
    found = check(tokenizers["smollm2"], completed("A is B . Q", spans))
    groups = found.key_groups((1,))
    assert groups["part"] == set()
    assert groups["correct_label"] == set(found.at("part"))


@pytest.mark.parametrize("which", KINDS)
def test_without_spans_there_are_no_sites_and_every_token_is_the_rest(tokenizers, which):
    found = check(tokenizers[which], completed("A is B", {}))
    groups = found.key_groups((0,))
    assert groups["rest"] == set(range(found.final + 1))
    with pytest.raises(NoSuchSite, match=r"Prompt 3 has no place named 'io'.* none"):
        found.at("io")


def test_where_spans_take_all_tokens_the_filler_is_every_token(tokenizers):
    found = check(tokenizers["smollm2"], completed("A is B", {"all": Span(0, 6)}))
    assert found.filler == (0, 1, 2)


def test_an_unknown_site_is_refused_with_those_there_are(tokenizers):
    found = check(
        tokenizers["gpt2"], completed("A is B", {"subject": Span(0, 1), "io": Span(5, 6)})
    )
    with pytest.raises(NoSuchSite, match=r"'subjct'\. Did you mean 'subject'\? .*: subject, io"):
        found.at("subjct")
