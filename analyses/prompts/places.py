"""Token positions of the parts of a prompt: labels, brackets, options, question, final position.

Character spans recorded while the text was built are mapped through the tokenizer's offsets; the
resulting tokens are decoded and compared with the text. Nothing is searched for in the text, so an
article "A" is never mistaken for a label.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from analyses.errors import Refused, shown
from analyses.prompts.prompt import Prompt
from analyses.prompts.tokenization import read, token_name
from analyses.prompts.written import Span


class LabelSharesItsToken(Refused):
    def __init__(self, prompt: Prompt, label: str, tokens: Sequence[str]) -> None:
        super().__init__(
            f"The label {label!r} of prompt {prompt.number} is not a single separate token in its "
            f"option's line: it is read as {list(tokens)}. Choose other labels or separators."
        )


class PlaceIsUnsure(Refused):
    def __init__(self, prompt: Prompt, text: str, found: str) -> None:
        super().__init__(
            f"The tokenizer's offsets are unreliable: {shown(text)} of prompt {prompt.number} is "
            f"read as {shown(found)}. Choose other data, or a model with another tokenizer."
        )


@dataclass(frozen=True, kw_only=True)
class OptionPlaces:
    """The tokens of one option, as indices into `TokenizedPrompt.input_ids`.

    Attributes:
        label: the single token of the label.
        bracket: the token after it, which closes the label: `)`, `.` or `:`. If a template puts
            only space between label and option, it is `content_first`.
        content_first, content_last: the first and last token with a character of the option.
        option_end: the last token of the option's line: the newline; or `content_last`, if the
            newline is not a separate token or belongs to what follows.
    """

    label: int
    bracket: int
    content_first: int
    content_last: int
    option_end: int


@dataclass(frozen=True, kw_only=True)
class Places:
    """The tokens of one prompt, as indices into `TokenizedPrompt.input_ids`."""

    number: int
    question_first: int
    question_last: int
    options: tuple[OptionPlaces, ...]
    final: int  # the last token, from which the label is predicted


def places(tokenizer: Tokenizer, prompt: Prompt) -> Places:
    """The token positions of a prompt's parts.

    Raises `LabelSharesItsToken`, or `PlaceIsUnsure` if decoded tokens do not match the text.
    """
    reading = read(tokenizer, prompt)
    index = _TokenIndex(tokenizer, prompt, reading.tokens)
    before = len(reading.leading)
    first, last = index.ends(prompt.question_span)
    return Places(
        number=prompt.number,
        question_first=before + first,
        question_last=before + last,
        options=tuple(_option(index, number, before) for number in range(len(prompt.options))),
        final=before + len(reading.tokens.ids) - 1,
    )


def _option(index: "_TokenIndex", number: int, before: int) -> OptionPlaces:
    prompt = index.prompt
    label = index.label(number)
    first, last = index.content(number)
    return OptionPlaces(
        label=before + label,
        bracket=before + index.after(label, prompt.label_spans[number].stop),
        content_first=before + first,
        content_last=before + last,
        option_end=before + index.line_end(last, prompt.line_stops[number]),
    )


class _TokenIndex:
    """Finds the tokens of a prompt by their characters."""

    def __init__(self, tokenizer: Tokenizer, prompt: Prompt, tokens: Encoding) -> None:
        self.prompt = prompt
        self._tokenizer = tokenizer
        self._ids: list[int] = tokens.ids
        self._offsets: list[tuple[int, int]] = tokens.offsets
        self._holders: list[list[int]] = [[] for _ in prompt.text]  # of each character
        for number, (start, stop) in enumerate(self._offsets):
            for character in range(start, stop):
                self._holders[character].append(number)

    def ends(self, span: Span) -> tuple[int, int]:
        """The first and last token with a character of the span."""
        inside = [number for each in self._holders[slice(*span)] for number in each]
        if not inside:
            raise PlaceIsUnsure(self.prompt, self.prompt.text[slice(*span)], "")
        return min(inside), max(inside)

    def label(self, index: int) -> int:
        """The token of a label, which may include preceding space but nothing else."""
        label, span = self.prompt.labels[index], self.prompt.label_spans[index]
        first, last = self.ends(span)
        held = self.prompt.text[slice(*self._offsets[first])]
        if first != last or held.strip() != label or self._decoded(first, last).strip() != label:
            names = [token_name(self._tokenizer, id) for id in self._ids[first : last + 1]]
            raise LabelSharesItsToken(self.prompt, label, names)
        return first

    def content(self, index: int) -> tuple[int, int]:
        """The first and last token of an option, checked by decoding them."""
        option = self.prompt.options[index]
        first, last = self.ends(self.prompt.option_spans[index])
        if _bare(option) not in _bare(self._decoded(first, last)):
            raise PlaceIsUnsure(self.prompt, option, self._decoded(first, last))
        return first, last

    def after(self, token: int, character: int) -> int:
        """The first token after `token` that holds `character` or a later one."""
        later = (number for each in self._holders[character:] for number in each if number > token)
        first = next(later, None)
        if first is None:
            raise PlaceIsUnsure(self.prompt, "the text after the last label", "")
        return first

    def line_end(self, token: int, stop: int) -> int:
        """The last token, from `token` on, that ends within the line."""
        last = token
        for number in range(token + 1, len(self._ids)):
            start, end = self._offsets[number]
            if end > stop or start == end:
                break
            last = number
        return last

    def _decoded(self, first: int, last: int) -> str:
        text: str = self._tokenizer.decode(self._ids[first : last + 1], skip_special_tokens=False)
        return text


def _bare(text: str) -> str:
    """The text without case, accents, width and spaces, which a normalizer may change."""
    parts = unicodedata.normalize("NFKD", text).casefold()
    kept = (each for each in parts if not unicodedata.combining(each) and not each.isspace())
    return "".join(kept).replace("\N{LOWER ONE EIGHTH BLOCK}", "")
