"""Finds labels or options of a question that a tokenizer maps to the same tokens."""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer

from analyses.errors import Refused, shown
from analyses.prompts.prompt import Prompt, QuestionPrompt

MOST_NAMED = 50


class SameTokens(Refused):
    """The tokens of two labels or options of a question are equal, so it has no single answer."""

    def __init__(self, found: Sequence[tuple[str, str]]) -> None:
        named = list(dict.fromkeys(found))
        lines = [f"  {where}: {reason}" for where, reason in named[:MOST_NAMED]]
        if len(named) > MOST_NAMED:
            lines.append(f"  and {len(named) - MOST_NAMED} more")
        super().__init__(
            "The model's tokenizer reads two labels or two options of one prompt as the same "
            f"tokens ({len(named)} found). Choose other labels, fix or remove the prompts, or "
            "use another model:\n" + "\n".join(lines)
        )


class Collisions:
    """Finds equal labels and options in prompts; the tokens of options are cached."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[int, ...]] = {}

    def of(self, prompt: Prompt, label_ids: Sequence[int]) -> Iterator[str]:
        """The pairs of labels, and of options after a space, whose tokens are equal, in words."""
        yield from self._same("labels", prompt.labels, [(each,) for each in label_ids])
        if isinstance(prompt, QuestionPrompt):
            options = [self._option(each) for each in prompt.options]
            yield from self._same("options", prompt.options, options)

    def _same(
        self, what: str, names: Sequence[str], tokens: Sequence[tuple[int, ...]]
    ) -> Iterator[str]:
        first: dict[tuple[int, ...], str] = {}
        for name, ids in zip(names, tokens, strict=True):
            if ids in first:
                read = [self._tokenizer.id_to_token(each) or f"#{each}" for each in ids]
                yield f"the {what} {shown(first[ids])} and {shown(name)} are both {shown(read)}"
            first.setdefault(ids, name)

    def _option(self, option: str) -> tuple[int, ...]:
        if option not in self._known:
            ids = self._tokenizer.encode(f" {option}", add_special_tokens=False).ids
            self._known[option] = tuple(ids)
        return self._known[option]
