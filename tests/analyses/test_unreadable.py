"""All candidates and labels that a tokenizer cannot read are named at once, with their rows."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from analyses.prompts.prompt import CompletionPrompt, Prompt
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
