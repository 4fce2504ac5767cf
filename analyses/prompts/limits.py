"""What a language model can read at all, and what it was trained to read; torch is not needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyses.errors import Refused
from analyses.prompts.tokenization import TokenizedPrompt


class TokenBeyondEmbedding(Refused):
    def __init__(self, number: int, token: int, rows: int) -> None:
        super().__init__(
            f"Prompt {number} needs the token {token}, but the model's embedding has {rows} rows "
            f"only: its tokenizer knows tokens that the model does not. Use the tokenizer that was "
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
    """None where nothing is known, or where there is no such limit."""

    n_embeddings: int | None = None  # rows of the token embedding
    max_positions: int | None = None  # tokens that it has positions for
    trained_positions: int | None = None  # tokens it was trained on; longer prompts can be read

    def check(self, prompts: Sequence[TokenizedPrompt]) -> None:
        """Raises `TokenBeyondEmbedding` and `PromptTooLong`."""
        for prompt in prompts:
            self.check_tokens(prompt.number, (*prompt.input_ids, *prompt.label_ids))
        lengths = [len(prompt.input_ids) for prompt in prompts]
        if too_long := _longer(prompts, self.max_positions):
            assert self.max_positions is not None
            raise PromptTooLong(lengths, too_long, self.max_positions)

    def check_tokens(self, number: int, tokens: Sequence[int]) -> None:
        """The same for some tokens of the prompt of that number; raises `TokenBeyondEmbedding`."""
        if self.n_embeddings is not None and max(tokens, default=0) >= self.n_embeddings:
            raise TokenBeyondEmbedding(number, max(tokens), self.n_embeddings)

    def warnings(self, prompts: Sequence[TokenizedPrompt]) -> tuple[str, ...]:
        """Where it reads what it was not trained for."""
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
    """The numbers of the prompts that are."""
    if most is None:
        return []
    return [prompt.number for prompt in prompts if len(prompt.input_ids) > most]
