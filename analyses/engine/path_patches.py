"""Path patching: what one component writes, replaced on its way into what one head reads.

docs/methods.md, section 15. The residual that enters the head's layer changes by the change of one
write, all other writes below stay as they were recorded, and only this head's query, keys or values
are computed from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyses.engine import memory, replay
from analyses.engine.anatomy import Anatomy, LayerAnatomy, per_head
from analyses.engine.attention import AttentionInputs
from analyses.engine.interventions import Constant, ImpossiblePatch, Patch, Site
from analyses.engine.recording import Recorded
from analyses.engine.replay_context import ReplayContext, Tokens
from analyses.engine.suffixes import Suffix, rectangle

At = tuple[tuple[int, ...], ...]  # each prompt's positions
HeadRead = tuple[int, Site]  # a head of the layer, and whether its q, k or v
Patches = tuple[Patch, ...]

WRITES = frozenset({Site.Z, Site.ATTN_OUT, Site.MLP_OUT})


@torch.no_grad()
def path_patches(
    anatomy: Anatomy,
    recorded: Recorded,
    senders: Sequence[Patch],
    layer: int,
    reads: Sequence[HeadRead],
    *,
    source: Recorded | None = None,
    budget: int,
) -> Mapping[HeadRead, Sequence[Patches]]:
    """For each read of the layer, the patches that put each sender's change into it alone.

    `senders` replace z, attn_out or mlp_out of layers below, all at the same positions, at which
    the queries, keys or values are patched too. Keys and values are those that the head reads from
    the final position.
    """
    at = _positions(senders, layer)
    for sender in senders:
        replay.check(sender, anatomy, recorded, source)
    context = ReplayContext.of(anatomy, recorded, source, senders)
    final = recorded.final[:, None]
    places = final if at is None else torch.tensor(at, device=final.device)
    suffix = Suffix(positions=places, start=places[:, 0], final=recorded.final)
    left = budget - memory.held(recorded, source)
    size = memory.branches_at_once(anatomy, recorded, suffix=suffix.width, left=left)
    found: dict[HeadRead, list[Patches]] = {read: [] for read in reads}
    for first in range(0, len(senders), size):
        changes = _write_changes(context, senders[first : first + size], suffix)
        by_site = _read_changes(context, layer, changes, suffix)
        for read, patches in found.items():
            values = _new_values(context, layer, read, by_site[read[1]], places)
            patches += [_patches(layer, read, each, places, at) for each in values]
    return found


def unchanged(patches: Patches, recorded: Patches) -> Bool[Tensor, " batch"]:
    """The prompts in which two sets of patches of the same reads are bit-equal."""
    same = []
    for one, other in zip(patches, recorded, strict=True):
        assert isinstance(one.value, Constant)
        assert isinstance(other.value, Constant)
        same.append((one.value.value == other.value.value).all(-1))
    return torch.stack(same).all(0)


def _positions(senders: Sequence[Patch], layer: int) -> At | None:
    """The senders' positions. Raises `ImpossiblePatch` if a sender has no path to the layer."""
    at = senders[0].at if senders else None
    for sender in senders:
        if sender.site not in WRITES or sender.layer >= layer:
            raise ImpossiblePatch(
                sender.name,
                f"it has no path to what the heads of layer {layer} read",
                "Choose z, attn_out or mlp_out of a layer below",
            )
        if sender.at != at or (at is not None and rectangle(at) is None):
            raise ImpossiblePatch(
                sender.name,
                f"it is at {sender.at}, and paths of one call begin at the same positions, as many "
                f"in every prompt",
                "Give all senders the same `at`",
            )
    return at


def _write_changes(
    context: ReplayContext, senders: Sequence[Patch], suffix: Suffix
) -> Float[Tensor, "batch sender place d_model"]:
    """The change of the residual that each sender makes by itself, in fp32."""
    changes = []
    for layer, of_layer in groupby(senders, key=lambda sender: sender.layer):
        writes = _LayerWrites(context, layer, suffix)
        changes += [writes.change(sender) for sender in of_layer]
    return torch.stack(changes, dim=1)


@dataclass(frozen=True)
class _LayerWrites:
    """What one layer writes to the residual at some positions."""

    context: ReplayContext
    number: int
    suffix: Suffix

    def change(self, sender: Patch) -> Float[Tensor, "batch place d_model"]:
        """m · (norm(y + Δz W_O[h]) − norm(y)) with y = z W_O + b_O, or the change of the output."""
        here = self._recorded(sender)
        edits = self.context.edits(self.number, [], self.suffix)
        change = edits.new_value(sender, here, self.suffix.positions) - here
        if sender.head is None:
            return change
        written = change @ self._W_O[sender.head]
        norm = self._layer.post_norm_formula
        if norm is not None:
            written = norm(self._projected + written) - norm(self._projected)
        return self.context.anatomy.residual_multiplier * written

    def _recorded(self, sender: Patch) -> Float[Tensor, "batch place d"]:
        recorded = self.context.recorded
        if sender.at is None:
            return recorded.at_final(sender.site, self.number, sender.head)[:, None]
        everywhere = recorded.reads[self.number].everywhere[sender.site]
        of_head = everywhere if sender.head is None else everywhere[:, :, sender.head]
        return self.suffix.gather(of_head).to(recorded.final.device, torch.float32)

    @property
    def _layer(self) -> LayerAnatomy:
        return self.context.anatomy.layers[self.number]

    @cached_property
    def _W_O(self) -> Float[Tensor, "head d_head d_model"]:
        W_O = self._layer.W_O.to(self.context.recorded.final.device)
        return per_head(W_O, self._layer.shape.n_heads)

    @cached_property
    def _projected(self) -> Float[Tensor, "batch place d_model"]:
        """What a post-norm reads."""
        reads = self.context.reads(self.number)
        if not reads.everywhere:
            return self.context.recorded.layers[self.number].projected[:, None]
        z = self.suffix.gather(reads.everywhere[Site.Z]).to(self._W_O)
        b_O = self._layer.b_O
        projected = z.flatten(2) @ self._W_O.flatten(0, 1)
        return projected if b_O is None else projected + b_O.to(projected)


def _read_changes(
    context: ReplayContext,
    layer: int,
    changes: Float[Tensor, "batch sender place d_model"],
    suffix: Suffix,
) -> dict[Site, Float[Tensor, "batch sender place head d"]]:
    """The change of every head's query, key and value.

    Both sides are computed at the same shape, so that their rounding is the same.
    """
    reads = context.reads(layer)
    resid = _resid_pre(context, layer, suffix)[:, None].expand_as(changes)
    before, after = (
        _attention_inputs(context, layer, tokens.to(reads.key), suffix)
        for tokens in (resid, resid + changes)
    )
    pattern = "batch head (sender place) d -> batch sender place head d"
    return {
        site: rearrange(two.float() - one.float(), pattern, place=suffix.width)
        for site, one, two in (
            (Site.Q, before.query, after.query),
            (Site.K, before.key, after.key),
            (Site.V, before.value, after.value),
        )
    }


def _resid_pre(
    context: ReplayContext, layer: int, suffix: Suffix
) -> Float[Tensor, "batch place d_model"]:
    recorded = context.recorded
    everywhere = context.reads(layer).everywhere
    if not everywhere:
        return recorded.layers[layer].resid_pre[:, None]
    return suffix.gather(everywhere[Site.RESID_PRE]).to(recorded.final.device, torch.float32)


class _Reached(Exception):
    """Ends a layer's call at its attention: what comes after it is not needed."""

    def __init__(self, inputs: AttentionInputs) -> None:
        super().__init__()
        self.inputs = inputs


def _attention_inputs(
    context: ReplayContext, layer: int, tokens: Tokens, suffix: Suffix
) -> AttentionInputs:
    def stop(inputs: AttentionInputs) -> Tensor:
        raise _Reached(inputs)

    try:
        context.run_layer(layer, tokens, suffix, stop, {})
    except _Reached as reached:
        return reached.inputs
    raise AssertionError(f"Layer {layer} has run without its attention.")


def _new_values(
    context: ReplayContext,
    layer: int,
    read: HeadRead,
    changes: Float[Tensor, "batch sender place head d"],
    places: Int[Tensor, "batch place"],
) -> Float[Tensor, "sender batch place d"]:
    """The recorded vectors plus the changes, in fp32."""
    head, site = read
    n_heads = context.anatomy.layers[layer].shape.n_heads
    group = head * changes.shape[3] // n_heads
    change = changes[:, :, :, group].transpose(0, 1)
    reads = context.reads(layer)
    rows = torch.arange(len(places), device=change.device)[:, None]
    if site is not Site.Q:
        vectors = (reads.key if site is Site.K else reads.value)[:, group]
        return vectors[rows, places.to(change.device)].float() + change
    if not reads.everywhere:
        return reads.q[:, group, None].float() + change
    return reads.everywhere[Site.Q][rows, places.to(change.device), group].float() + change


def _patches(
    layer: int,
    read: HeadRead,
    values: Float[Tensor, "batch place d"],
    places: Int[Tensor, "batch place"],
    at: At | None,
) -> Patches:
    """One patch for each of the positions; that of a query at the final one has no `at`."""
    head, site = read
    return tuple(
        Patch(
            site=site,
            layer=layer,
            head=head,
            value=Constant(values[:, place]),
            at=None if site is Site.Q and at is None else tuple((each,) for each in column),
        )
        for place, column in enumerate(places.T.tolist())
    )
