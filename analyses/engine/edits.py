"""One layer's patches, each on its branch, and their effect on an activation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine.interventions import READS, Constant, FromSource, Patch, Site
from analyses.engine.recording import Recorded
from analyses.engine.rotary import AS_SEEN, Frame, Rotary
from analyses.engine.suffixes import Suffix, positions_mask, rectangle


@dataclass(frozen=True)
class Placed:
    """A patch on the branch with this index in the batch."""

    branch: int
    patch: Patch


@dataclass(frozen=True)
class HeadPatches:
    """The patches of keys or of values that one head of a branch reads, in order."""

    branch: int
    head: int
    patches: tuple[Patch, ...]


@dataclass(frozen=True, kw_only=True)
class LayerEdits:
    layer: int
    placed: Sequence[Placed]
    suffix: Suffix
    recorded: Recorded
    source: Recorded | None
    rotary: Rotary | None  # where a patch is made before rotary embedding
    source_rotary: Rotary | None

    def of(self, site: Site) -> Iterator[Placed]:
        return (each for each in self.placed if each.patch.site is site)

    def apply(self, site: Site, x: Float[Tensor, "batch branch suffix *head d"]) -> None:
        """Change the activations in place."""
        for placed in self.of(site):
            patch = placed.patch
            here = x[:, placed.branch] if patch.head is None else x[:, placed.branch, :, patch.head]
            new = self.new_value(patch, here, self.suffix.positions).to(here.dtype)
            if patch.at is None and self.suffix.is_final_only:
                here.copy_(new)
            else:
                chosen = self.suffix.chosen(patch).to(here.device)
                here.copy_(torch.where(chosen[..., None], new, here))

    def by_head(self, site: Site) -> Iterator[HeadPatches]:
        """The patches of keys or values, grouped by branch and head."""
        by_head: dict[tuple[int, int], list[Patch]] = {}
        for placed in self.of(site):
            assert placed.patch.head is not None
            by_head.setdefault((placed.branch, placed.patch.head), []).append(placed.patch)
        return (HeadPatches(*key, tuple(patches)) for key, patches in by_head.items())

    def read(
        self, head: HeadPatches, x: Float[Tensor, "batch pos d"]
    ) -> Float[Tensor, "batch pos d"]:
        """The keys or values of all positions, as the patched head reads them."""
        rows = torch.arange(len(x), device=x.device)[:, None]
        everywhere = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        for patch in head.patches:
            chosen = None if patch.at is None else rectangle(patch.at)
            if chosen is not None:  # the usual case: as many positions in each prompt
                at = (rows, chosen.to(x.device))
                new = self.new_value(patch, x[at], at[1]).to(x.dtype)
                x = x.index_put(at, new)
                continue
            new = self.new_value(patch, x, everywhere).to(x.dtype)
            if patch.at is not None:
                mask = positions_mask(patch.at, x.shape[1]).to(x.device)
                new = torch.where(mask[..., None], new, x)
            x = new
        return x

    def new_value(
        self, patch: Patch, here: Float[Tensor, "batch pos d"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d"]:
        """The activation that replaces `here`, in fp32."""
        frame, of_source = self._frames(patch)
        match patch.value:
            case FromSource():
                assert self.source is not None
                values, there = self._of_source(patch, self.source, positions)
                new = of_source.back(values.to(here.device, torch.float32), there)
            case Constant(value):
                new = (value[:, None] if value.dim() > 1 else value).to(here.device, torch.float32)
            case apply:
                new = apply.function(frame.back(here.float(), positions))
        return frame.turn(new.expand(here.shape), positions)

    def _frames(self, patch: Patch) -> tuple[Frame, Frame]:
        """The frames in which the prompt's and the source's vectors are changed."""
        if not patch.before_rotary or patch.site is Site.V:
            return AS_SEEN, AS_SEEN
        return self.rotary or AS_SEEN, self.source_rotary or AS_SEEN

    def _of_source(
        self, patch: Patch, source: Recorded, positions: Int[Tensor, "batch pos"]
    ) -> "_SourceValues":
        """The source's activations and their positions there."""
        positions = _there(patch, positions)
        if patch.site in READS:
            reads = source.reads[self.layer]
            keys = reads.key if patch.site is Site.K else reads.value
            assert patch.head is not None
            kv = patch.head * keys.shape[1] // reads.q.shape[1]
            within = positions.clamp(max=keys.shape[2] - 1)
            return _SourceValues(_at(keys[:, kv], within), within)
        if patch.at is None:
            values = source.at_final(patch.site, self.layer, patch.head)
            return _SourceValues(values[:, None], source.final[:, None])
        values = source.reads[self.layer].everywhere[patch.site]
        if patch.head is not None:
            values = values[:, :, patch.head]
        within = positions.clamp(max=values.shape[1] - 1)
        return _SourceValues(_at(values, within), within)


def _there(patch: Patch, positions: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch pos"]:
    """The positions in the source that correspond to these."""
    if not isinstance(patch.value, FromSource) or patch.value.at is None or patch.at is None:
        return positions
    there = positions.clone()
    for row, (here, source) in enumerate(zip(patch.at, patch.value.at, strict=True)):
        for one, other in zip(here, source, strict=True):
            there[row, positions[row] == one] = other
    return there


class _SourceValues(NamedTuple):
    values: Float[Tensor, "batch pos d"]
    positions: Int[Tensor, "batch pos"]


def _at(
    values: Float[Tensor, "batch all_pos d"], positions: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d"]:
    """Values at positions; beyond a source's end the last one stands in, which no patch takes."""
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, positions.to(values.device)]
