"""Labels and options of one question that a tokenizer cannot tell apart; all are named at once."""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer

from analyses.errors import Refused, shown
from analyses.prompts.prompt import Prompt

MOST_NAMED = 50


class SameTokens(Refused):
    """Questions whose answer would be decided by the order of options that are the same."""

    def __init__(self, found: Sequence[tuple[str, str]]) -> None:
        named = list(dict.fromkeys(found))
        said = [f"  {where}: {reason}" for where, reason in named[:MOST_NAMED]]
        if len(named) > MOST_NAMED:
            said.append(f"  and {len(named) - MOST_NAMED} more")
        super().__init__(
            "The model's tokenizer reads two labels or two options of one question as the same "
            f"tokens ({len(named)} found). Choose other labels, put the questions right or take "
            "them out, or use another model:\n" + "\n".join(said)
        )


class Collisions:
    """What a tokenizer reads alike in each prompt. How it reads an option is remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[int, ...]] = {}

    def of(self, prompt: Prompt, label_ids: Sequence[int]) -> Iterator[str]:
        """The pairs of labels, and of options as they continue a text, that are the same."""
        yield from self._same("labels", prompt.labels, [(each,) for each in label_ids])
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
