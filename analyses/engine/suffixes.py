"""The positions that a replay recomputes: the last ones of each prompt, as one rectangle."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyses.engine.interventions import Patch
from analyses.errors import Refused

MASK = "attention_mask"  # the one argument of a layer that has two axes of positions


class UnknownArgument(Refused):
    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            f"The model's layers are called with {name!r}, {what}, which has no axis of positions, "
            f"so they cannot be replayed. Use another model."
        )


@dataclass(frozen=True, kw_only=True)
class Visible:
    """The keys that each position of a suffix attends to: `prefix` recorded ones, then its own."""

    prefix: int
    mask: Bool[Tensor, "batch suffix key"] | None  # None where all are visible


@dataclass(frozen=True, kw_only=True)
class Suffix:
    """From the first changed position of each prompt to its final one.

    Shorter suffixes repeat their final position at the end, where nothing that is read attends.
    """

    positions: Int[Tensor, "batch suffix"]
    start: Int[Tensor, " batch"]
    final: Int[Tensor, " batch"]

    @classmethod
    def of(cls, patches: Iterable[Patch], final: Int[Tensor, " batch"]) -> "Suffix":
        start = final.tolist()
        for patch in patches:
            for row, at in enumerate(patch.at or ()):
                if patch.moves:
                    start[row] = min((start[row], *at))
        begun = torch.tensor(start, device=final.device)
        steps = torch.arange(int((final - begun).max()) + 1, device=final.device)
        positions = torch.minimum(begun[:, None] + steps, final[:, None])
        return cls(positions=positions, start=begun, final=final)

    @property
    def width(self) -> int:
        return self.positions.shape[1]

    @property
    def is_final_only(self) -> bool:
        return self.width == 1

    def gather(self, value: Tensor) -> Tensor:
        """A [batch, pos, …] tensor, or one for all prompts, at the suffix's positions."""
        places = self.positions.to(value.device)
        return value.expand(len(places), *value.shape[1:])[_rows(places), places]

    def chosen(self, patch: Patch) -> Bool[Tensor, "batch suffix"]:
        """The positions of the suffix at which the patch is made."""
        if patch.at is None:
            steps = torch.arange(self.width, device=self.final.device)
            return steps == (self.final - self.start)[:, None]
        longest = int(self.final.max()) + 1
        return self.gather(positions_mask(patch.at, longest).to(self.final.device))

    def at_final(self, value: Tensor) -> Tensor:
        """A [batch, suffix, …] tensor at the final positions."""
        return value[self._final_steps(value)]

    def set_final(self, value: Tensor, new: Tensor) -> None:
        """Set a [batch, suffix, …] tensor to `new` [batch, …] at the final positions."""
        value[self._final_steps(value)] = new

    def merged(
        self, prefix: Float[Tensor, "batch pos d"], own: Float[Tensor, "batch suffix d"]
    ) -> Float[Tensor, "batch pos d"]:
        """A tensor of all positions, with the suffix's own values at its positions."""
        if self.is_final_only:
            alone = torch.arange(len(own), device=own.device), self.start.to(own.device)
            return prefix.index_put(alone, own[:, 0])
        rows = _rows(self.positions).to(own.device)
        steps = (
            torch.arange(prefix.shape[1], device=own.device) - self.start.to(own.device)[:, None]
        )
        inside = (steps >= 0) & (steps < self.width)
        return torch.where(inside[..., None], own[rows, steps.clamp(0, self.width - 1)], prefix)

    def _final_steps(self, value: Tensor) -> tuple[Tensor, Tensor]:
        steps = (self.final - self.start).to(value.device)
        return torch.arange(len(steps), device=value.device), steps

    def arguments(self, recorded: Mapping[str, Any], branches: int) -> dict[str, Any]:
        """A layer's arguments for `branches` suffixes of every prompt, side by side."""
        return {
            name: None if name == MASK else self._spread(name, value, branches)
            for name, value in recorded.items()
        }

    def _spread(self, name: str, value: Any, branches: int) -> Any:
        if isinstance(value, tuple | list):
            return tuple(self._spread(name, each, branches) for each in value)
        if isinstance(value, Mapping):
            return {key: self._spread(name, each, branches) for key, each in value.items()}
        if not isinstance(value, Tensor):
            return value
        if value.dim() < 2 or value.shape[1] <= int(self.final.max()):
            raise UnknownArgument(name, f"of shape {tuple(value.shape)}")
        here = self.gather(value)
        if self.is_final_only:
            return here.expand(-1, branches, *here.shape[2:])
        return repeat(here, "batch suffix ... -> batch (branch suffix) ...", branch=branches)

    def visible(self, mask: Bool[Tensor, "batch 1 pos pos"] | None, pos: int) -> Visible:
        """The keys that the layer's mask allows the suffix; without a mask, all earlier ones."""
        device = self.positions.device
        keys = torch.arange(pos, device=device)
        if mask is None:
            rows = keys <= self.positions[..., None]
        else:
            rows = self.gather(mask[:, 0].to(device))
        prefix = int(self.start.max())
        to_prefix = rows[..., :prefix] & (keys[:prefix] < self.start[:, None, None])
        own = repeat(self.positions, "batch key -> batch suffix key", suffix=self.width)
        causal = torch.ones(self.width, self.width, dtype=torch.bool, device=device).tril()
        visible = torch.cat([to_prefix, rows.gather(2, own) & causal], dim=-1)
        return Visible(prefix=prefix, mask=None if bool(visible.all()) else visible)


@lru_cache(maxsize=64)  # patches of one replay share their positions
def rectangle(at: tuple[tuple[int, ...], ...]) -> Int[Tensor, "batch place"] | None:
    """The positions as a tensor, if every prompt has equally many."""
    return torch.tensor(at) if len({len(each) for each in at}) == 1 and at[0] else None


def positions_mask(at: tuple[tuple[int, ...], ...], width: int) -> Bool[Tensor, "batch pos"]:
    mask = torch.zeros(len(at), width, dtype=torch.bool)
    for row, positions in enumerate(at):
        mask[row, list(positions)] = True
    return mask


def _rows(places: Int[Tensor, "batch suffix"]) -> Int[Tensor, "batch 1"]:
    return rearrange(torch.arange(len(places), device=places.device), "batch -> batch 1")
