"""All candidates and labels that a tokenizer cannot read are named at once, with their rows."""

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from analyses.prompts.prompt import CompletionPrompt, Prompt
from analyses.prompts.shared_tokens import SpanHoldsMore, SpansShareAToken
from analyses.prompts.tokenization import tokenize_all
from analyses.prompts.unreadable import (
    LabelIsNotOneToken,
    LabelIsUnknown,
    SameTokens,
    SeveralUnreadable,
)
from analyses.prompts.written import Span

ROWS = {0: "p.csv line 2", 1: "p.csv line 3", 2: "p.csv line 4", 3: "p.csv line 5"}


@pytest.fixture
def words() -> Tokenizer:
    """A token for each word, and an unknown one for all others."""
    vocabulary = {word: n for n, word in enumerate(["<unk>", "it", "is", "sun", "rain", "-", "a"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def completion(number: int, *labels: str, text: str = "it is", **spans: Span) -> Prompt:
    return CompletionPrompt(
        number=number,
        item=f"rows/{number}",
        text=text,
        joint=" ",
        labels=labels,
        correct=(0,),
        spans=spans,
    )


def where(prompt: Prompt) -> str:
    return ROWS[prompt.number]


def test_several_correct_candidates_are_each_one_token(words: Tokenizer) -> None:
    (read,) = tokenize_all(words, [completion(0, "sun", "rain", "a")], where)
    assert read.input_ids == (1, 2)
    assert read.label_ids == (3, 4, 6)


def test_all_problems_of_all_prompts_are_reported_with_their_rows(words: Tokenizer) -> None:
    prompts = [
        completion(0, "sun", "rain-a"),
        completion(1, "snow", "hail"),
        completion(2, "sun", "sun", "snow"),
        completion(3, "sun", "rain", text="it thaws", what=Span(3, 8)),
    ]
    with pytest.raises(SeveralUnreadable) as refused:
        tokenize_all(words, prompts, where)
    first, all_of, *lines = str(refused.value).splitlines()
    assert first == (
        "The candidate 'rain-a' is not one token after p.csv line 2: the text ends in the tokens "
        "['it', 'is'], and with the candidate in ['it', 'is', 'rain', '-', 'a']. Choose other "
        "candidates, or another model."
    )
    assert all_of == "All problems (5):"
    assert [line.partition(": ")[0] for line in lines] == [
        "  p.csv line 2",
        "  p.csv line 3, p.csv line 4",
        "  p.csv line 3",
        "  p.csv line 4",
        "  p.csv line 5",
    ]
    reasons = [line.partition(": ")[2] for line in lines]
    assert "does not know the candidate 'snow'" in reasons[1]
    assert "does not know the candidate 'hail'" in reasons[2]
    assert reasons[3] == "the candidates 'sun' and 'sun' are both ['sun']"
    assert "does not know all of the span 'what'" in reasons[4]


@pytest.mark.parametrize(
    ("label", "kind", "says"),
    [
        ("rain-a", LabelIsNotOneToken, "not one token after p.csv line 3: "),
        ("snow", LabelIsUnknown, "does not know the candidate 'snow' of p.csv line 3: "),
        ("sun", SameTokens, r"\(1 found\)"),
    ],
)
def test_a_single_problem_is_named_alone(
    words: Tokenizer, label: str, kind: type[Exception], says: str
) -> None:
    prompts = [completion(0, "sun", "rain"), completion(1, "sun", label)]
    with pytest.raises(kind, match=says) as refused:
        tokenize_all(words, prompts, where)
    assert "All problems" not in str(refused.value)


def test_a_long_list_is_cut(words: Tokenizer) -> None:
    prompts = [completion(n, "sun", *(f"w{k}" for k in range(60))) for n in range(20)]
    with pytest.raises(SeveralUnreadable) as refused:
        tokenize_all(words, prompts)
    lines = str(refused.value).splitlines()
    assert len(lines) == 2 + 50 + 1
    assert lines[1] == "All problems (60):"
    assert lines[2].startswith("  prompt 0, prompt 1, prompt 2, prompt 3, prompt 4 and 15 more: ")
    assert lines[-1] == "  and 10 more"


def pieces(*split: str) -> Tokenizer:
    """Reads these pieces as tokens, and all other characters one by one."""
    known = {piece: n for n, piece in enumerate([*split, " a", " b", *map(chr, range(32, 127))])}
    made = Tokenizer(models.WordLevel(known, unk_token=" "))
    pattern = "|".join([*split, " a$", " b$", "."])
    made.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    return made


def test_spans_within_one_token_are_refused_with_the_rows_of_all() -> None:
    john = [completion(n, "a", "b", text="to John", one=Span(3, 5), two=Span(5, 7)) for n in (0, 1)]
    with pytest.raises(SeveralUnreadable) as refused:
        tokenize_all(pieces(" John"), john, where)
    first, _, *lines = str(refused.value).splitlines()
    assert first == (
        "The span 'one' has no tokens of its own in p.csv line 2: a token of 'Jo' is 'John' of the "
        "text. Choose other spans, or another model."
    )
    assert [line.split(":")[0] for line in lines] == ["  p.csv line 2, p.csv line 3"] * 2


def test_a_span_of_a_space_that_is_part_of_the_next_word_is_refused() -> None:
    with pytest.raises(SpanHoldsMore, match=r"'gap' has no tokens of its own .* 'John'"):
        tokenize_all(pieces(" John"), [completion(0, "a", "b", text="to John", gap=Span(2, 3))])


def test_parts_of_a_number_are_refused_if_they_end_in_one_token() -> None:
    (year,) = [completion(0, "a", text="in 1732", century=Span(3, 5), year=Span(5, 7))]
    for read in (pieces("17", "32"), pieces("173"), pieces()):
        assert tokenize_all(read, [year])
    with pytest.raises(SpansShareAToken, match=r"'century' and 'year' share a token .* '1732'"):
        tokenize_all(pieces("1732"), [year])


def test_spans_within_each_other_may_share_tokens() -> None:
    nested = completion(0, "a", text="to John", all=Span(0, 7), name=Span(3, 7))
    assert tokenize_all(pieces(" John"), [nested])
