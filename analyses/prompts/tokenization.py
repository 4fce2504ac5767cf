"""Prompts as tokens, with the one token of each label; only tokenizer.json is read, never torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from analyses.errors import Refused
from analyses.prompts.distributions import Prompt


class UnreadableTokenizer(Refused):
    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path} cannot be read: {error}. Make it again with "
            f"AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )


class TextIsRewritten(Refused):
    def __init__(self, prompt: Prompt) -> None:
        super().__init__(
            f"The tokenizer's special tokens change how prompt {prompt.number} itself is split, "
            f"so its final position is unclear. Use a model whose tokenizer adds tokens at the "
            f"ends only."
        )


class EmptyPrompt(Refused):
    def __init__(self, prompt: Prompt) -> None:
        super().__init__(f"Prompt {prompt.number} has no tokens. Give it a text.")


class LabelIsNotOneToken(Refused):
    def __init__(
        self, prompt: Prompt, label: str, before: Sequence[str], after: Sequence[str]
    ) -> None:
        super().__init__(
            f"The label {label!r} is not one token after prompt {prompt.number}: the text ends in "
            f"the tokens {list(before)}, with the label in {list(after)}. Choose other labels, or "
            f"a template that ends in another way."
        )


class LabelIsUnknown(Refused):
    def __init__(self, label: str, token: str) -> None:
        super().__init__(
            f"The tokenizer does not know the label {label!r}: it reads {token!r}. "
            f"Choose other labels."
        )


class LabelsCollide(Refused):
    def __init__(self, labels: Sequence[str], tokens: Sequence[str]) -> None:
        super().__init__(
            f"Some of the labels {list(labels)} are the same token: {list(tokens)}. "
            f"Choose other labels."
        )


@dataclass(frozen=True, kw_only=True)
class TokenizedPrompt:
    """One prompt as a language model reads it; the label is predicted from its last token."""

    number: int
    item: str
    input_ids: tuple[int, ...]
    label_ids: tuple[int, ...]
    correct: int


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json, never padding and never cutting."""
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise UnreadableTokenizer(path, error) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(tokenizer: Tokenizer, prompt: Prompt) -> TokenizedPrompt:
    """The prompt's tokens and, for each label, the one token that continues them."""
    text = _plain_ids(tokenizer, prompt.text)
    labels = tuple(_label_id(tokenizer, prompt, label, text) for label in prompt.labels)
    if len(set(labels)) < len(labels):
        raise LabelsCollide(prompt.labels, [_token(tokenizer, id) for id in labels])
    input_ids = (*_leading_ids(tokenizer, prompt, text), *text)
    if not input_ids:
        raise EmptyPrompt(prompt)
    return TokenizedPrompt(
        number=prompt.number,
        item=prompt.item,
        input_ids=input_ids,
        label_ids=labels,
        correct=prompt.correct,
    )


def _plain_ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def _leading_ids(tokenizer: Tokenizer, prompt: Prompt, text: tuple[int, ...]) -> tuple[int, ...]:
    """What the tokenizer puts before a text. What it puts after, an end of text, is left out."""
    whole = tuple(tokenizer.encode(prompt.text).ids)
    for start in range(len(whole) - len(text) + 1):
        if whole[start : start + len(text)] == text:
            return whole[:start]
    raise TextIsRewritten(prompt)


def _label_id(tokenizer: Tokenizer, prompt: Prompt, label: str, text: tuple[int, ...]) -> int:
    longer = _plain_ids(tokenizer, prompt.text + label)
    if longer[:-1] != text or not label:
        before = [_token(tokenizer, id) for id in text[-3:]]
        after = [_token(tokenizer, id) for id in longer[max(0, len(text) - 3) :]]
        raise LabelIsNotOneToken(prompt, label, before, after)
    token: str = tokenizer.decode([longer[-1]], skip_special_tokens=False)
    if longer[-1] == _unknown_id(tokenizer) or token.strip() != label.strip():
        raise LabelIsUnknown(label, token)
    return longer[-1]


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    token = getattr(tokenizer.model, "unk_token", None)
    if token is not None:
        known: int | None = tokenizer.token_to_id(token)
        return known
    return getattr(tokenizer.model, "unk_id", None)  # Unigram


def _token(tokenizer: Tokenizer, id: int) -> str:
    return tokenizer.id_to_token(id) or f"#{id}"
