"""Finds the tokens of a prompt by their characters."""

import unicodedata

from tokenizers import Encoding, Tokenizer

from analyses.errors import Refused, shown
from analyses.prompts.prompt import Prompt
from analyses.prompts.tokenization import token_name
from analyses.prompts.written import Span


class PlaceIsUnsure(Refused):
    def __init__(self, prompt: Prompt, text: str, found: str) -> None:
        super().__init__(
            f"The tokenizer's offsets are unreliable: {shown(text)} of prompt {prompt.number} is "
            f"read as {shown(found)}. Choose other data, or a model with another tokenizer."
        )


class TokenIndex:
    """The tokens of a prompt's own text, without special tokens before it."""

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

    def checked_ends(self, span: Span) -> tuple[int, int]:
        """`ends`, checked by decoding the tokens."""
        text = self.prompt.text[slice(*span)]
        first, last = self.ends(span)
        if _bare(text) not in _bare(self.decoded(first, last)):
            raise PlaceIsUnsure(self.prompt, text, self.decoded(first, last))
        return first, last

    @property
    def last(self) -> int:
        """The last token of the text."""
        return len(self._ids) - 1

    def text(self, token: int) -> str:
        """The characters of the prompt that a token holds."""
        return self.prompt.text[slice(*self._offsets[token])]

    def names(self, first: int, last: int) -> list[str]:
        """The tokens as in the vocabulary."""
        return [token_name(self._tokenizer, id) for id in self._ids[first : last + 1]]

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

    def decoded(self, first: int, last: int) -> str:
        """The text of the tokens from the first to the last."""
        text: str = self._tokenizer.decode(self._ids[first : last + 1], skip_special_tokens=False)
        return text


def _bare(text: str) -> str:
    """The text without case, accents, width and spaces, which a normalizer may change."""
    parts = unicodedata.normalize("NFKD", text).casefold()
    kept = (each for each in parts if not unicodedata.combining(each) and not each.isspace())
    return "".join(kept).replace("\N{LOWER ONE EIGHTH BLOCK}", "")
