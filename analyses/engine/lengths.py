"""Which lengths of prompts a model's rotary angles allow, and which may stand in one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from analyses.errors import Refused

LONG, DYNAMIC = "longrope", "dynamic"  # kinds whose angles depend on a batch's longest prompt


class UnequalLengths(Refused):
    def __init__(self, lengths: Sequence[int], limit: int) -> None:
        super().__init__(
            f"Prompts of {min(lengths)} and {max(lengths)} tokens cannot be recorded together: "
            f"this model embeds positions otherwise when a batch has a prompt of more than {limit} "
            f"tokens. Record the longer ones apart."
        )


class DependsOnEarlierPrompts(Refused):
    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"A prompt of {length} tokens cannot be recorded: beyond {limit} tokens this model's "
            f"rotary embedding (dynamic) depends on the prompts that it has seen before. Use "
            f"shorter prompts."
        )


@dataclass(frozen=True, kw_only=True)
class Lengths:
    limit: int | None = None  # up to which rotary angles are those of short prompts; None: always
    remembers: bool = False  # beyond the limit, angles depend on the longest prompt so far

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Lengths":
        config = model.config.get_text_config()
        return cls(
            limit=limit_of(config),
            remembers=remembers(config),
        )

    def check(self, lengths: Sequence[int]) -> None:
        """Raises `DependsOnEarlierPrompts` or `UnequalLengths`."""
        longest = max(lengths)
        if self.limit is None:
            return
        if self.remembers and longest > self.limit:
            raise DependsOnEarlierPrompts(longest, self.limit)
        if self.apart(min(lengths), longest):
            raise UnequalLengths(lengths, self.limit)

    def apart(self, one: int, other: int) -> bool:
        """Whether sequences of these lengths may not stand in one batch."""
        return self.limit is not None and (one > self.limit) != (other > self.limit)


def limit_of(config: PretrainedConfig) -> int | None:
    """The length up to which angles are those of short prompts; None where length is nothing."""
    found = [
        int(each.get("original_max_position_embeddings") or config.max_position_embeddings)
        for each in _parameters(config)
        if each["rope_type"] in (LONG, DYNAMIC)
    ]
    return min(found, default=None)


def remembers(config: PretrainedConfig) -> bool:
    """Whether angles depend on earlier prompts, once one was longer than the limit."""
    return any(each["rope_type"] == DYNAMIC for each in _parameters(config))


def _parameters(config: PretrainedConfig) -> list[Mapping[str, Any]]:
    """The config's rotary parameters; some families have their own for each kind of layer."""
    found = getattr(config, "rope_parameters", None) or {}
    every = [found] if "rope_type" in found else list(found.values())
    return [each for each in every if isinstance(each, Mapping) and "rope_type" in each]
