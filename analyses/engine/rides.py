"""Interventions as tokens that ride through the layers above their lowest patch.

Only the final position is read and attention is causal, so a change at some position leaves all
before it as it was recorded. A rider is one intervention on every prompt: the tokens from the first
changed position to the final one. All riders share the recorded keys and values of their prompts.
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
from analyses.engine.ground import Ground, Tokens
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
from analyses.engine.shared_keys import Own
from analyses.engine.suffixes import MASK, Suffix, Visible

UNCHANGED = -1  # the number of a rider without patches


@torch.no_grad()
def final_resid(
    ground: Ground, interventions: Sequence[Intervention]
) -> Float[Tensor, "intervention batch d_model"]:
    """The residual that the final norm reads under each intervention, in fp32."""
    ride = _Ride(ground, interventions)
    for layer in range(len(ground.anatomy.layers)):
        ride.through(layer)
    return ride.arrived()


@torch.no_grad()
def changed_resid(
    ground: Ground, interventions: Sequence[Intervention]
) -> Float[Tensor, "intervention batch d_model"]:
    """The recorded residual and what each intervention changes, measured on the way it goes.

    A few tokens by themselves are rounded otherwise than whole prompts are. So next to those who
    ride from a layer on rides one who changes nothing, and what that one has become is taken off.
    """
    joins = [each.joins for each in interventions]
    layers = sorted({layer for layer in joins if layer is not None})
    unchanged = [Intervention((Patch(site=Site.RESID_PRE, layer=n, value=SAME),)) for n in layers]
    resid = final_resid(ground, [*interventions, *unchanged])
    base = ground.recorded.layers[-1].resid_post
    of_layer = dict(zip(layers, resid[len(interventions) :], strict=True))
    drifts = [base if layer is None else of_layer[layer] for layer in joins]
    return resid[: len(interventions)] - torch.stack(drifts) + base


class _Ride:
    def __init__(self, ground: Ground, interventions: Sequence[Intervention]) -> None:
        self.ground = ground
        self.interventions = interventions
        patches = [patch for each in interventions for patch in each.patches]
        self.suffix = Suffix.of(patches, ground.recorded.final)
        self.aboard: list[int] = []  # which interventions' riders are in `tokens`
        self.tokens: Tokens | None = None
        base = ground.recorded.layers[-1].resid_post
        self.resid = base.repeat(len(interventions), 1, 1)
        self.carried: dict[int, Own] = {}  # those aboard's keys and values that others read
        self.seen: dict[int, Visible] = {}  # by the mask, of which layers share few

    def through(self, layer: int) -> None:
        """One layer for all who are aboard, who join here, and who only write here."""
        here = [
            number
            for number, each in enumerate(self.interventions)
            if any(patch.layer == layer for patch in each.patches)
        ]
        direct = [number for number in here if self.interventions[number].path is Path.DIRECT]
        joining = [number for number in here if number not in {*self.aboard, *direct}]
        through = [number for number in direct if self._patches(number, layer, IN_ATTENTION)]
        rows = [*self.aboard, *joining, *through]
        if rows:
            riding = len(self.aboard) + len(joining)
            rows += [UNCHANGED] if through else []
            tokens, attn_out = self._replayed(layer, rows, riding)
            self.aboard, self.tokens = rows[:riding], tokens[:, :riding]
            self._add_attention_writes(layer, through, attn_out[:, riding:])
        for number in direct:
            self._add_other_writes(layer, number)

    def arrived(self) -> Float[Tensor, "intervention batch d_model"]:
        if self.tokens is not None:
            last = self.suffix.at_final(self.tokens.transpose(1, 2)).transpose(0, 1)
            self.resid[self.aboard] = last.to(self.resid)
        return self.resid

    def _patches(self, number: int, layer: int, sites: frozenset[Site]) -> list[Patch]:
        patches = self.interventions[number].patches
        return [patch for patch in patches if patch.layer == layer and patch.site in sites]

    def _base(self, layer: int) -> Float[Tensor, "batch suffix d_model"]:
        """What entered the layer when it was recorded."""
        recorded = self.ground.recorded
        if self.suffix.is_final_only:
            return recorded.layers[layer].resid_pre[:, None]
        return self.suffix.gather(recorded.reads[layer].everywhere[Site.RESID_PRE])

    def _replayed(self, layer: int, rows: Sequence[int], riding: int) -> tuple[Tokens, Tokens]:
        """What leaves the layer, and what its attention wrote."""
        reads = self.ground.reads(layer)
        everything = frozenset(Site)
        placed = [
            Placed(row, patch)
            for row, number in enumerate(rows)
            if number != UNCHANGED
            for patch in self._patches(number, layer, everything if row < riding else IN_ATTENTION)
        ]
        edits = self.ground.edits(layer, placed, self.suffix)
        base = self._base(layer)[:, None].to(reads.key)
        joining = base.expand(-1, len(rows) - len(self.aboard), -1, -1)
        parts = [joining] if self.tokens is None else [self.tokens.to(reads.key), joining]
        tokens = torch.cat(parts, dim=1)
        edits.apply(Site.RESID_PRE, tokens)
        visible = self._visible(layer)

        kept = layer in self.ground.anatomy.lenders

        def attend(inputs: AttentionInputs) -> Tensor:
            if kept:
                self.carried[layer] = shared_keys.own(inputs.key, inputs.value, self.suffix, riding)
            return attend_to_prefix(inputs, reads, visible, edits)

        with _written(self.ground.anatomy, edits, tokens.shape) as attn_out:
            tokens = self.ground.through(layer, tokens, self.suffix, attend, self.carried)
        if any(edits.of(Site.RESID_POST)):
            tokens = tokens.clone()
            edits.apply(Site.RESID_POST, tokens)
        return tokens, attn_out[0]

    def _visible(self, layer: int) -> Visible:
        mask = id(self.ground.reads(layer).arguments.get(MASK))
        if mask not in self.seen:
            self.seen[mask] = self.ground.visible(layer, self.suffix)
        return self.seen[mask]

    def _add_attention_writes(self, layer: int, numbers: Sequence[int], attn_out: Tokens) -> None:
        """By the direct path, the change of attention's write goes to the final residual.

        The last row is what it writes unchanged, computed in the same way.
        """
        if numbers:
            multiplier = self.ground.anatomy.residual_multiplier
            last = self.suffix.at_final(attn_out.transpose(1, 2)).transpose(0, 1)
            writes = multiplier * last.to(self.resid)
            self.resid[list(numbers)] += writes[:-1] - writes[-1]

    def _add_other_writes(self, layer: int, number: int) -> None:
        recorded = self.ground.recorded
        others = frozenset(Site) - IN_ATTENTION
        edits = self.ground.edits(layer, [], self.suffix)
        for patch in self._patches(number, layer, others):
            base = recorded.at_final(patch.site, layer)[:, None]
            new = edits.new_value(patch, base, recorded.final[:, None])
            self.resid[number] += (new - base)[:, 0]


@contextmanager
def _written(anatomy: Anatomy, edits: LayerEdits, shape: torch.Size) -> Iterator[list[Tokens]]:
    """Inside the block, writes to the residual are edited; attention's is handed out."""
    layer, multiplier = anatomy.layers[edits.layer], anatomy.residual_multiplier
    attn_out: list[Tensor] = []
    before: list[Tensor] = []  # what the MLP's modules have given, when there are several

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
