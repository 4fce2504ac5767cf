"""Recorded prompts under many interventions at once, run through the layers that change.

Only the final position is read and attention is causal, so a change at some position leaves all
before it as it was recorded. A branch is every prompt under one intervention: its tokens from the
first changed position to the final one, run through the layers above the lowest patch. All branches
share the recorded keys and values of their prompts.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyses.engine import shared_keys
from analyses.engine.anatomy import Anatomy
from analyses.engine.attention import AttentionInputs
from analyses.engine.edits import LayerEdits, Placed
from analyses.engine.interventions import (
    IN_ATTENTION,
    SAME,
    Intervention,
    Patch,
    Path,
    Site,
)
from analyses.engine.outputs import first_tensor
from analyses.engine.prefix_attention import attend_to_prefix
from analyses.engine.replay_context import ReplayContext, Tokens
from analyses.engine.shared_keys import Own
from analyses.engine.suffixes import MASK, Suffix, Visible

UNCHANGED = -1  # stands for a branch without patches


@torch.no_grad()
def final_resid(
    context: ReplayContext, interventions: Sequence[Intervention]
) -> Float[Tensor, "intervention batch d_model"]:
    """The residual that the final norm reads under each intervention, in fp32."""
    batch = _BranchBatch(context, interventions)
    for layer in range(len(context.anatomy.layers)):
        batch.run_layer(layer)
    return batch.final_resid()


@torch.no_grad()
def changed_resid(
    context: ReplayContext, interventions: Sequence[Intervention]
) -> Float[Tensor, "intervention batch d_model"]:
    """The recorded residual plus the change that each intervention makes, free of rounding drift.

    A few tokens by themselves are rounded differently from whole prompts. So the branches that
    start at a layer are compared with one that starts there too and changes nothing.
    """
    starts = [each.first_layer for each in interventions]
    layers = sorted({layer for layer in starts if layer is not None})
    unchanged = [Intervention((Patch(site=Site.RESID_PRE, layer=n, value=SAME),)) for n in layers]
    resid = final_resid(context, [*interventions, *unchanged])
    base = context.recorded.layers[-1].resid_post
    by_layer = dict(zip(layers, resid[len(interventions) :], strict=True))
    baselines = [base if layer is None else by_layer[layer] for layer in starts]
    return resid[: len(interventions)] - torch.stack(baselines) + base


class _BranchBatch:
    """The branches of some interventions; each starts at its lowest patched layer."""

    def __init__(self, context: ReplayContext, interventions: Sequence[Intervention]) -> None:
        self.context = context
        self.interventions = interventions
        patches = [patch for each in interventions for patch in each.patches]
        self.suffix = Suffix.of(patches, context.recorded.final)
        self.active: list[int] = []  # numbers of the interventions whose branches are in `tokens`
        self.tokens: Tokens | None = None
        base = context.recorded.layers[-1].resid_post
        self.resid = base.repeat(len(interventions), 1, 1)
        self.own_keys: dict[int, Own] = {}  # by layer, where layers above read them
        self.visible: dict[int, Visible] = {}  # by the id of the mask; many layers share one

    def run_layer(self, layer: int) -> None:
        """Runs one layer for the active branches, those that start here, and direct paths."""
        here = [
            number
            for number, each in enumerate(self.interventions)
            if any(patch.layer == layer for patch in each.patches)
        ]
        direct = [number for number in here if self.interventions[number].path is Path.DIRECT]
        starting = [number for number in here if number not in {*self.active, *direct}]
        direct_attention = [n for n in direct if self._patches(n, layer, IN_ATTENTION)]
        numbers = [*self.active, *starting, *direct_attention]
        if numbers:
            n_active = len(self.active) + len(starting)
            numbers += [UNCHANGED] if direct_attention else []
            tokens, attn_out = self._replayed(layer, numbers, n_active)
            self.active, self.tokens = numbers[:n_active], tokens[:, :n_active]
            self._add_attention_writes(direct_attention, attn_out[:, n_active:])
        for number in direct:
            self._add_other_writes(layer, number)

    def final_resid(self) -> Float[Tensor, "intervention batch d_model"]:
        if self.tokens is not None:
            last = self.suffix.at_final(self.tokens.transpose(1, 2)).transpose(0, 1)
            self.resid[self.active] = last.to(self.resid)
        return self.resid

    def _patches(self, number: int, layer: int, sites: frozenset[Site]) -> list[Patch]:
        patches = self.interventions[number].patches
        return [patch for patch in patches if patch.layer == layer and patch.site in sites]

    def _base(self, layer: int) -> Float[Tensor, "batch suffix d_model"]:
        """The layer's recorded input."""
        recorded = self.context.recorded
        if self.suffix.is_final_only:
            return recorded.layers[layer].resid_pre[:, None]
        return self.suffix.gather(recorded.reads[layer].everywhere[Site.RESID_PRE])

    def _replayed(self, layer: int, numbers: Sequence[int], n_active: int) -> tuple[Tokens, Tokens]:
        """The layer's output, and what its attention wrote."""
        reads = self.context.reads(layer)
        every_site = frozenset(Site)
        placed = [
            Placed(branch, patch)
            for branch, number in enumerate(numbers)
            if number != UNCHANGED
            for patch in self._patches(
                number, layer, every_site if branch < n_active else IN_ATTENTION
            )
        ]
        edits = self.context.edits(layer, placed, self.suffix)
        base = self._base(layer)[:, None].to(reads.key)
        starting = base.expand(-1, len(numbers) - len(self.active), -1, -1)
        parts = [starting] if self.tokens is None else [self.tokens.to(reads.key), starting]
        tokens = torch.cat(parts, dim=1)
        edits.apply(Site.RESID_PRE, tokens)
        visible = self._visible(layer)

        is_shared = layer in self.context.anatomy.shared_layers

        def attend(inputs: AttentionInputs) -> Tensor:
            if is_shared:
                self.own_keys[layer] = shared_keys.own(
                    inputs.key, inputs.value, self.suffix, n_active
                )
            return attend_to_prefix(inputs, reads, visible, edits)

        with _written(self.context.anatomy, edits, tokens.shape) as attn_out:
            tokens = self.context.run_layer(layer, tokens, self.suffix, attend, self.own_keys)
        if any(edits.of(Site.RESID_POST)):
            tokens = tokens.clone()
            edits.apply(Site.RESID_POST, tokens)
        return tokens, attn_out[0]

    def _visible(self, layer: int) -> Visible:
        mask = id(self.context.reads(layer).arguments.get(MASK))
        if mask not in self.visible:
            self.visible[mask] = self.context.visible(layer, self.suffix)
        return self.visible[mask]

    def _add_attention_writes(self, numbers: Sequence[int], attn_out: Tokens) -> None:
        """On direct paths, the change of attention's write is added to the final residual.

        The last branch is unchanged: it gives the write to compare with, computed the same way.
        """
        if numbers:
            multiplier = self.context.anatomy.residual_multiplier
            last = self.suffix.at_final(attn_out.transpose(1, 2)).transpose(0, 1)
            writes = multiplier * last.to(self.resid)
            self.resid[list(numbers)] += writes[:-1] - writes[-1]

    def _add_other_writes(self, layer: int, number: int) -> None:
        """On a direct path, changes of the residual and of the MLP's write."""
        recorded = self.context.recorded
        others = frozenset(Site) - IN_ATTENTION
        edits = self.context.edits(layer, [], self.suffix)
        for patch in self._patches(number, layer, others):
            base = recorded.at_final(patch.site, layer)[:, None]
            new = edits.new_value(patch, base, recorded.final[:, None])
            self.resid[number] += (new - base)[:, 0]


@contextmanager
def _written(anatomy: Anatomy, edits: LayerEdits, shape: torch.Size) -> Iterator[list[Tokens]]:
    """Inside the block, writes to the residual are edited; attention's is put into the list."""
    layer, multiplier = anatomy.layers[edits.layer], anatomy.residual_multiplier
    attn_out: list[Tensor] = []
    before: list[Tensor] = []  # outputs of the MLP's modules so far, when there are several

    def edited(site: Site, written: Tensor) -> Tensor:
        if not any(edits.of(site)):
            return written
        written = written * multiplier
        edits.apply(site, written)
        return written / multiplier

    def attention(_module: nn.Module, _args: Any, output: Any) -> Any:
        written = edited(Site.ATTN_OUT, _of_shape(output, shape))
        attn_out.append(written)
        return _in_place_of(output, written)

    def mlp(module: nn.Module, _args: Any, output: Any) -> Any:
        before.append(_of_shape(output, shape))
        if len(before) < len(layer.mlp):
            return output
        others = sum(before[:-1], torch.zeros_like(before[-1]))
        return _in_place_of(output, edited(Site.MLP_OUT, others + before[-1]) - others)

    with ExitStack() as hooks:
        hooks.callback(layer.attention_writer.register_forward_hook(attention).remove)
        if any(edits.of(Site.MLP_OUT)):
            for module in layer.mlp:
                hooks.callback(module.register_forward_hook(mlp).remove)
        yield attn_out


def _of_shape(output: Any, shape: torch.Size) -> Tensor:
    value = first_tensor(output)
    assert value is not None
    return value.reshape(shape)


def _in_place_of(output: Any, value: Tensor) -> Any:
    """The module's output with this as its first tensor."""
    if isinstance(output, tuple):
        return (_in_place_of(output[0], value), *output[1:])
    return value.reshape(output.shape)
