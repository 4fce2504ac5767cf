"""Which prompts a language model can process, and which it was trained on; without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from analyses.errors import Refused
from analyses.prompts.prompt import Prompt
from analyses.prompts.tokenization import TokenizedPrompt


class TokenBeyondEmbedding(Refused):
    def __init__(self, number: int, token: int, rows: int) -> None:
        super().__init__(
            f"Prompt {number} has the token {token}, but the model's embedding has only {rows} "
            f"rows: its tokenizer knows tokens that the model does not. Use the tokenizer that was "
            f"saved with these weights, or prompts and labels without such tokens."
        )


class PromptTooLong(Refused):
    def __init__(self, lengths: Sequence[int], numbers: Sequence[int], most: int) -> None:
        super().__init__(
            f"{len(numbers)} of the {len(lengths)} prompts are too long for this model, the first "
            f"is prompt {numbers[0]}: its positions end after {most} tokens, the longest prompt "
            f"has {max(lengths)}. Use shorter prompts (fewer shots or options), or another model."
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A model's limits; None if there is no such limit or it is unknown."""

    n_embeddings: int | None = None  # rows of the token embedding
    max_positions: int | None = None  # positions that the model has
    trained_positions: int | None = None  # positions seen in training; it can process more

    def check(self, prompts: Sequence[TokenizedPrompt]) -> None:
        """Raises `TokenBeyondEmbedding` or `PromptTooLong`."""
        for prompt in prompts:
            self.check_tokens(prompt.number, (*prompt.input_ids, *prompt.label_ids))
        self._check_lengths([(prompt.number, len(prompt.input_ids)) for prompt in prompts])

    def check_texts(self, tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> None:
        """Raises `PromptTooLong`: a check before labels are looked up, which takes longer.

        A text has at most about as many tokens as bytes, so only long ones are tokenized.
        """
        if self.max_positions is not None:
            texts = [(prompt.number, prompt.text) for prompt in prompts]
            long = self.max_positions
            self._check_lengths(
                [
                    (number, len(tokenizer.encode(text).ids) if len(text.encode()) > long else 0)
                    for number, text in texts
                ]
            )

    def _check_lengths(self, lengths: Sequence[tuple[int, int]]) -> None:
        """Of prompts, by number."""
        most = self.max_positions
        too_long = [number for number, length in lengths if most is not None and length > most]
        if most is not None and too_long:
            raise PromptTooLong([length for _, length in lengths], too_long, most)

    def check_tokens(self, number: int, tokens: Sequence[int]) -> None:
        """Check tokens of the prompt with this number. Raises `TokenBeyondEmbedding`."""
        if self.n_embeddings is not None and max(tokens, default=0) >= self.n_embeddings:
            raise TokenBeyondEmbedding(number, max(tokens), self.n_embeddings)

    def warnings(self, prompts: Sequence[TokenizedPrompt]) -> tuple[str, ...]:
        """A warning if prompts are longer than those the model was trained on."""
        beyond = _longer(prompts, self.trained_positions)
        if not beyond:
            return ()
        longest = max(len(prompt.input_ids) for prompt in prompts)
        return (
            f"{len(beyond)} of the {len(prompts)} prompts have more tokens than the "
            f"{self.trained_positions} that the model was trained on, up to {longest}: what it "
            f"does there may be no behaviour of a trained model.",
        )


def _longer(prompts: Sequence[TokenizedPrompt], most: int | None) -> list[int]:
    """The numbers of the prompts with more than `most` tokens."""
    if most is None:
        return []
    return [prompt.number for prompt in prompts if len(prompt.input_ids) > most]
