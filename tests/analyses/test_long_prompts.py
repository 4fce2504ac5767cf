"""Long prompts to complete are not tokenized again for each of their candidates."""

from typing import Any

import pytest
from made_tokenizers import MADE
from tokenizers import Encoding, Tokenizer

from analyses.prompts.limits import Limits, PromptTooLong
from analyses.prompts.prompt import CompletionPrompt
from analyses.prompts.tokenization import tokenize_all

LABELS = tuple("ABCDEFGHIJ")


class Counting:
    """A tokenizer that counts the characters it reads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.characters = 0

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Encoding:
        self.characters += len(text)
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def prompt(number: int, text: str) -> CompletionPrompt:
    return CompletionPrompt(
        number=number,
        item=f"rows/{number}",
        text=text,
        joint=" ",
        labels=LABELS,
        correct=(0,),
        spans={},
    )


@pytest.mark.parametrize("before", ["", "The first line\n"])
@pytest.mark.parametrize("which", MADE)
def test_candidates_are_read_after_the_last_word(which: str, before: str) -> None:
    tokenizer: Any = Counting(MADE[which]())
    text = before + "the capital of " * 500 + "France is"
    prompts = [prompt(number, text) for number in range(3)]
    read = tokenize_all(tokenizer, prompts)
    assert tokenizer.characters < 2.5 * len(text) * len(prompts)
    for each in read:
        for label, id in zip(LABELS, each.label_ids, strict=True):
            ids = tokenizer.encode(f"{text} {label}").ids
            assert ids == [*each.input_ids, id]


def test_a_prompt_that_is_too_long_is_refused_before_its_candidates_are_read() -> None:
    tokenizer: Any = Counting(MADE["gpt2"]())
    prompts = [prompt(0, "France is"), prompt(1, "A\N{NO-BREAK SPACE}" * 900)]
    with pytest.raises(PromptTooLong, match=r"1 of the 2 prompts .* prompt 1: .* after 64 tokens"):
        Limits(max_positions=64).check_texts(tokenizer, prompts)
    assert tokenizer.characters == len(prompts[1].text)
