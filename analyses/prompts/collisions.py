"""Finds labels or options of a question that a tokenizer maps to the same tokens."""

from collections.abc import Iterator, Mapping, Sequence

from tokenizers import Tokenizer

from analyses.errors import shown
from analyses.prompts.prompt import Prompt, QuestionPrompt


class Collisions:
    """Finds equal labels and options in prompts; the tokens of options are cached."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[int, ...]] = {}

    def of(self, prompt: Prompt, label_ids: Mapping[int, int]) -> Iterator[str]:
        """The pairs of labels, and of options after a space, whose tokens are equal, in words.

        `label_ids` are by the index of the label.
        """
        labels = [prompt.labels[index] for index in label_ids]
        tokens = [(each,) for each in label_ids.values()]
        yield from self._same(f"{prompt.labelled}s", labels, tokens)
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
