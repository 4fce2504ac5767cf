"""The prompt lengths that a model's rotary angles allow, and which lengths may share a batch."""

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
            f"this model embeds positions differently when a batch has a prompt of more than "
            f"{limit} tokens. Record the longer ones separately."
        )


class DependsOnEarlierPrompts(Refused):
    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"A prompt of {length} tokens cannot be recorded: beyond {limit} tokens this model's "
            f"rotary embedding (dynamic) depends on earlier prompts. Use shorter prompts."
        )


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How a model's rotary angles depend on the lengths of prompts."""

    limit: int | None = None  # longest prompt with the usual angles; None: any
    stateful: bool = False  # beyond the limit, angles depend on the longest prompt so far

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Lengths":
        config = model.config.get_text_config()
        return cls(
            limit=limit_of(config),
            stateful=is_stateful(config),
        )

    def check(self, lengths: Sequence[int]) -> None:
        """Raises `DependsOnEarlierPrompts` or `UnequalLengths`."""
        longest = max(lengths)
        if self.limit is None:
            return
        if self.stateful and longest > self.limit:
            raise DependsOnEarlierPrompts(longest, self.limit)
        if self.must_be_separate(min(lengths), longest):
            raise UnequalLengths(lengths, self.limit)

    def must_be_separate(self, one: int, other: int) -> bool:
        """Whether sequences of these lengths must not share a batch."""
        return self.limit is not None and (one > self.limit) != (other > self.limit)


def limit_of(config: PretrainedConfig) -> int | None:
    """The longest prompt with the usual angles; None where angles do not depend on length."""
    limits = [
        int(each.get("original_max_position_embeddings") or config.max_position_embeddings)
        for each in _parameters(config)
        if each["rope_type"] in (LONG, DYNAMIC)
    ]
    return min(limits, default=None)


def is_stateful(config: PretrainedConfig) -> bool:
    """Whether angles depend on earlier prompts once one of them exceeds the limit."""
    return any(each["rope_type"] == DYNAMIC for each in _parameters(config))


def _parameters(config: PretrainedConfig) -> list[Mapping[str, Any]]:
    """The config's rotary parameters; some families have their own for each kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope] if "rope_type" in rope else list(rope.values())
    return [each for each in kinds if isinstance(each, Mapping) and "rope_type" in each]
