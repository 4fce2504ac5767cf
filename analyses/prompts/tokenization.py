"""Tokenizes prompts and finds the single token of each label; needs tokenizer.json, not torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from analyses.bounds import TOKENIZER_BYTES
from analyses.errors import Refused
from analyses.prompts.collisions import Collisions
from analyses.prompts.prompt import LABEL, CompletionPrompt, Prompt
from analyses.prompts.shared_tokens import shared_tokens
from analyses.prompts.unreadable import (
    LabelIsNotOneToken,
    LabelIsUnknown,
    PartIsUnknown,
    Problems,
)
from analyses.prompts.written import Span
from analyses.regular_files import content

LONG_LINE = 200  # characters


class UnreadableTokenizer(Refused):
    def __init__(self, path: Path, error: BaseException) -> None:
        super().__init__(
            f"{path} cannot be read: {error}. Recreate it with "
            f"AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )


class TextIsRewritten(Refused):
    def __init__(self, prompt: Prompt) -> None:
        super().__init__(
            f"The tokenizer's special tokens change how prompt {prompt.number} itself is "
            f"tokenized, so its final position is unclear. Use a model whose tokenizer adds tokens "
            f"only at the ends."
        )


class EmptyPrompt(Refused):
    def __init__(self, prompt: Prompt) -> None:
        super().__init__(f"Prompt {prompt.number} has no tokens. Use a prompt with text.")


@dataclass(frozen=True, kw_only=True)
class TokenizedPrompt:
    """The tokens of a prompt; a label is predicted from the last one.

    `correct` are the indices of the correct labels: one or several.
    """

    number: int
    item: str
    input_ids: tuple[int, ...]
    label_ids: tuple[int, ...]
    correct: tuple[int, ...]
    unknown: int = 0  # unknown tokens in the text, outside its named parts


@dataclass(frozen=True)
class Reading:
    """A prompt's own tokens, and the special tokens that the tokenizer puts before every text."""

    leading: tuple[int, ...]
    tokens: Encoding


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json, without padding or truncation. Shared: do not modify it.

    Raises `UnreadableTokenizer`, `TooMuch` or `NotRegular`.
    """
    try:
        return tokenizer_of(content(path, most=TOKENIZER_BYTES), path)
    except OSError as error:
        raise UnreadableTokenizer(path, error) from None


def tokenizer_of(text: bytes, path: Path) -> Tokenizer:
    """The tokenizer in the bytes of a tokenizer.json; `path` is for the error message."""
    try:
        return _tokenizer(text)
    except (Refused, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises Exception, or panics
        raise UnreadableTokenizer(path, error) from None


@lru_cache(maxsize=8)
def _tokenizer(text: bytes) -> Tokenizer:
    """Cached: the library never frees the words that a tokenizer has seen, so that each new
    instance leaks memory.
    """
    tokenizer: Tokenizer = Tokenizer.from_buffer(text)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def read(tokenizer: Tokenizer, prompt: Prompt) -> Reading:
    """The tokens of a prompt, without special tokens after it. Raises a `Refused`."""
    tokens = tokenizer.encode(prompt.text, add_special_tokens=False)
    text, whole = tokens.ids, tokenizer.encode(prompt.text).ids
    for start in range(len(whole) - len(text) + 1):
        if whole[start : start + len(text)] == text:
            if start + len(text) == 0:
                raise EmptyPrompt(prompt)
            return Reading(tuple(whole[:start]), tokens)
    raise TextIsRewritten(prompt)


def tokenize(tokenizer: Tokenizer, prompt: Prompt) -> TokenizedPrompt:
    """The prompt's tokens and, for each label, the single token that continues them."""
    return tokenize_all(tokenizer, [prompt])[0]


def tokenize_all(
    tokenizer: Tokenizer,
    prompts: Iterable[Prompt],
    where: Callable[[Prompt], str] = lambda prompt: f"prompt {prompt.number}",
) -> list[TokenizedPrompt]:
    """Every prompt's tokens and, for each of its labels, the single token that continues them.

    Raises all unreadable parts of all prompts at once, as an `Unreadable`, `SeveralUnreadable` or
    `SameTokens`; `where` gives a prompt's name in the message.
    """
    reader, problems = _Reader(tokenizer), Problems()
    found = [reader.tokenized(prompt, where(prompt), problems) for prompt in prompts]
    problems.check()
    return found


class _Reader:
    """Tokenizes prompts one after the other; what they have in common is read once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._labels = _Labels(tokenizer)
        self._same = Collisions(tokenizer)

    def tokenized(self, prompt: Prompt, where: str, problems: Problems) -> TokenizedPrompt:
        """The tokens of a prompt; they are not complete if this adds problems."""
        reading = read(self._tokenizer, prompt)
        ids = {}
        for index, label in enumerate(prompt.labels):
            with problems.caught():
                ids[index] = self._labels.id(prompt, label, reading.tokens, where)
        for reason in self._same.of(prompt, ids):
            problems.add_same(where, reason)
        unknown = 0
        with problems.caught():
            unknown = _unknown(self._tokenizer, prompt, reading.tokens, where)
        spans = prompt.spans if isinstance(prompt, CompletionPrompt) else {}
        for each in shared_tokens(prompt.text, spans, reading.tokens, where):
            problems.add(each)
        return TokenizedPrompt(
            number=prompt.number,
            item=prompt.item,
            input_ids=(*reading.leading, *reading.tokens.ids),
            label_ids=tuple(ids.values()),
            correct=prompt.correct,
            unknown=unknown,
        )


def _unknown(tokenizer: Tokenizer, prompt: Prompt, tokens: Encoding, where: str) -> int:
    """The number of unknown tokens. Raises an `Unreadable` if one is in a named part."""
    unknown = unknown_id(tokenizer)
    if unknown is None or unknown not in tokens.ids:
        return 0

    def read_as(span: Span) -> list[str] | None:
        inside = [n for n, (a, b) in enumerate(tokens.offsets) if a < span.stop and b > span.start]
        names = [token_name(tokenizer, tokens.ids[n]) for n in inside]
        return names if any(tokens.ids[n] == unknown for n in inside) else None

    for what, span in prompt.parts:
        if names := read_as(span):
            part = prompt.text[slice(*span)]
            if what == LABEL:
                raise LabelIsUnknown(where, what, part, " ".join(names))
            raise PartIsUnknown(where, what, part, names)
    return tokens.ids.count(unknown)


class _Labels:
    """Finds the token of a label after a prompt.

    If the prompt's last line (or the last word of a long one) is tokenized the same way on its own,
    the token depends only on that piece and is cached by it. Otherwise the whole text is tokenized
    again for each label.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, tuple[int, ...], str], int | None] = {}

    def id(self, prompt: Prompt, label: str, text: Encoding, where: str) -> int:
        """Raises an `Unreadable`; `where` is the prompt's name in the message."""
        start, ignored = _last_piece(prompt.text)
        found = None
        if start >= 0:
            ending = prompt.text[start:] + prompt.joint
            key = ending, _ids_from(text, start + ignored), label
            if key not in self._known:
                self._known[key] = self._after_piece(prompt.text[start:], key, ignored)
            found = self._known[key]
        if found is None:
            found = self._after_text(prompt, label, text, where)
        token = self._tokenizer.decode([found], skip_special_tokens=False)
        if found == unknown_id(self._tokenizer) or token.strip() != label.strip():
            raise LabelIsUnknown(where, prompt.labelled, label, token)
        return found

    def _after_piece(
        self, piece: str, key: tuple[str, tuple[int, ...], str], ignored: int
    ) -> int | None:
        ending, ids, label = key
        alone = self._tokenizer.encode(piece, add_special_tokens=False)
        longer = self._tokenizer.encode(ending + label, add_special_tokens=False)
        same = ids and _ids_from(alone, ignored) == ids and label and longer.ids[:-1] == alone.ids
        return longer.ids[-1] if same else None

    def _after_text(self, prompt: Prompt, label: str, text: Encoding, where: str) -> int:
        continued = prompt.text + prompt.joint + label
        longer = self._tokenizer.encode(continued, add_special_tokens=False)
        if longer.ids[:-1] != text.ids or not label:
            before, after = text.tokens[-3:], longer.tokens[max(0, len(text.ids) - 3) :]
            raise LabelIsNotOneToken(where, prompt.labelled, label, before, after)
        return longer.ids[-1]


def _last_piece(text: str) -> tuple[int, int]:
    """Where the last line starts, or the last word of a long line; negative if nowhere.

    Then how many of its characters are not compared: the newline, but not the space, which is part
    of the word's token.
    """
    line = text.rfind("\n")
    if line >= 0 and len(text) - line <= LONG_LINE:
        return line, 1
    return text.rfind(" ", line + 1), 0


def _ids_from(tokens: Encoding, start: int) -> tuple[int, ...]:
    """The ids of the text from character `start` on; empty if a token spans its start."""
    first = next((n for n, (_, stop) in enumerate(tokens.offsets) if stop > start), None)
    if first is None or tokens.offsets[first][0] < start:
        return ()
    return tuple(tokens.ids[first:])


def splits_years_after_the_century(tokenizer: Tokenizer) -> bool:
    """Whether the last two digits of a year are one token, and the century is read without them."""
    year, century = (tokenizer.encode(text, add_special_tokens=False) for text in ("1732", "17"))
    same: bool = year.ids[:-1] == century.ids
    return same


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id of the tokenizer's unknown token, or None."""
    token = getattr(tokenizer.model, "unk_token", None)
    if token is not None:
        known: int | None = tokenizer.token_to_id(token)
        return known
    return getattr(tokenizer.model, "unk_id", None)  # Unigram


def token_name(tokenizer: Tokenizer, id: int) -> str:
    """The token as in the vocabulary."""
    return tokenizer.id_to_token(id) or f"#{id}"
