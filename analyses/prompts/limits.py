"""Which prompts a language model can process, and which it was trained on; without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyses.errors import Refused
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
        lengths = [len(prompt.input_ids) for prompt in prompts]
        if too_long := _longer(prompts, self.max_positions):
            assert self.max_positions is not None
            raise PromptTooLong(lengths, too_long, self.max_positions)

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
