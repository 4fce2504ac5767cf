"""Attention patterns from the final position, of the model as it is and under interventions."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine import memory
from analyses.engine.anatomy import Anatomy, per_head
from analyses.engine.attention import AttentionInputs
from analyses.engine.edits import Placed
from analyses.engine.interventions import Intervention, Patch, Site
from analyses.engine.prefix_attention import attend_to_prefix, prefix_pattern
from analyses.engine.recording import Recorded
from analyses.engine.replay import check
from analyses.engine.replay_context import ReplayContext
from analyses.engine.suffixes import Suffix
from analyses.errors import Refused

OF_A_ROW = frozenset({Site.Q, Site.K})  # the sites of its layer that a row depends on
UNCHANGED = (Intervention(),)


class ImpossibleRow(Refused):
    def __init__(self, layer: int, why: str, way_out: str) -> None:
        super().__init__(
            f"The attention pattern of layer {layer} is not available: {why}. {way_out}."
        )


ROUNDING = 1e-5  # of a row's sum in fp32; what is missing beyond it went to a sink


@torch.no_grad()
def rows(
    anatomy: Anatomy,
    recorded: Recorded,
    layer: int,
    interventions: Sequence[Intervention] = UNCHANGED,
    *,
    source: Recorded | None = None,
    budget: int,
) -> Float[Tensor, "intervention batch head key"]:
    """softmax(cap(q·k scaling)) of the final position under each intervention, in fp32.

    As the model computes it: masked, and a sink takes its share, so that a row may add up to less
    than 1. Keys are token positions; beyond a prompt's end the weight is 0. Interventions change
    queries (at the final position) and keys of this layer; without any, the row is the model's own.
    `budget` bounds the memory in bytes, the recordings and the rows included. Raises
    `ImpossibleRow`, `ImpossiblePatch`.
    """
    patches = [patch for each in interventions for patch in each.patches]
    _check_layer(anatomy, recorded, layer)
    for patch in patches:
        _check_patch(patch, layer)
        check(patch, anatomy, recorded, source)
    context = ReplayContext.of(anatomy, recorded, source, patches)
    suffix = Suffix.of((), recorded.final)
    inputs = _attention_inputs(context, layer, suffix)
    batch, _, width, _ = recorded.reads[layer].key.shape
    shape = len(interventions), batch, anatomy.layers[layer].shape.n_heads, width
    patterns = torch.empty(shape, dtype=torch.float32, device=recorded.final.device)
    left = budget - memory.held(recorded, source) - patterns.nbytes
    size = memory.branches_at_once(anatomy, recorded, suffix=suffix.width, left=left)
    for first in range(0, len(interventions), size):
        memory.give_back(patterns.device)
        some = interventions[first : first + size]
        patterns[first : first + size] = _rows(context, layer, suffix, inputs, some)
    return patterns


@torch.no_grad()
def value_norms(
    anatomy: Anatomy, recorded: Recorded, layer: int
) -> Float[Tensor, "batch head key"]:
    """‖m · v_j W_O[h]‖: the size of a head's write if it attended to one key only, in fp32.

    m is the residual multiplier. The value bias is inside v, the output bias in no head's write. A
    post-norm comes later and depends on all heads, so it is left out. Beyond a prompt's end the
    size is 0. Raises `ImpossibleRow`. See docs/methods.md, section 8.
    """
    _check_layer(anatomy, recorded, layer)
    value = recorded.reads[layer].value.float()
    shape = anatomy.layers[layer].shape
    W_O = per_head(anatomy.layers[layer].W_O.to(value.device), shape.n_heads)
    sizes = [
        torch.linalg.vector_norm(value[:, shape.kv_head(head)] @ of_head, dim=-1)
        for head, of_head in enumerate(W_O)  # one head at a time: all writes together are large
    ]
    keys = torch.arange(value.shape[2], device=value.device)
    beyond_end = keys > recorded.final.to(value.device)[:, None, None]
    norms = anatomy.residual_multiplier * torch.stack(sizes, dim=1)
    return norms.masked_fill(beyond_end, 0).to(recorded.final.device)


def entropy(rows: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch"]:
    """−Σ a ln a, in nats. The weight of a sink, 1 − Σ a, counts as one more key.

    >>> entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([0.0000, 0.6931])
    """
    total: Tensor = torch.special.entr(_with_sink(rows)).sum(-1)
    return total.float()


def divergence(
    rows: Float[Tensor, "*batch key"], others: Float[Tensor, "*batch key"]
) -> Float[Tensor, "*batch"]:
    """KL(a ‖ b) = Σ a ln(a / b), in nats, with the weight of sinks as one more key.

    A weight of zero in `others` counts as the smallest number of fp32.

    >>> divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
    tensor(0.6931)
    """
    a, b = _with_sink(rows), _with_sink(others)
    b = b.clamp_min(torch.finfo(torch.float32).tiny)
    total: Tensor = torch.special.xlogy(a, a).sum(-1) - torch.special.xlogy(a, b).sum(-1)
    return total.clamp_min(0).float()


def _with_sink(rows: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch key"]:
    weights = rows.double()
    left = 1 - weights.sum(-1, keepdim=True)
    whole = torch.cat([weights, left.where(left > ROUNDING, 0)], dim=-1)
    return whole / whole.sum(-1, keepdim=True)


def _check_layer(anatomy: Anatomy, recorded: Recorded, layer: int) -> None:
    if not 0 <= layer < len(anatomy.layers):
        raise ImpossibleRow(
            layer,
            f"the model has {len(anatomy.layers)} layers, counted from 0",
            "Choose one of them",
        )
    if not recorded.reads:
        raise ImpossibleRow(
            layer, "keys and values were not recorded", "Record with keep=Keep.PREFIX"
        )


def _check_patch(patch: Patch, layer: int) -> None:
    if patch.layer != layer or patch.site not in OF_A_ROW or patch.moves:
        raise ImpossibleRow(
            layer,
            f"the patch of {patch.name} does not act on queries or keys of its final position",
            "Patch q at the final position, or k, of that layer; or replay the intervention",
        )


def _attention_inputs(context: ReplayContext, layer: int, suffix: Suffix) -> AttentionInputs:
    """What the layer calls attention with at the final positions."""
    reads, visible = context.reads(layer), context.visible(layer, suffix)
    no_edits = context.edits(layer, [], suffix)
    observed: list[AttentionInputs] = []

    def attend(inputs: AttentionInputs) -> Tensor:
        observed.append(inputs)
        return attend_to_prefix(inputs, reads, visible, no_edits)

    resid = context.recorded.layers[layer].resid_pre[:, None, None]
    context.run_layer(layer, resid.to(reads.key), suffix, attend, {})
    return observed[0]


def _rows(
    context: ReplayContext,
    layer: int,
    suffix: Suffix,
    inputs: AttentionInputs,
    interventions: Sequence[Intervention],
) -> Float[Tensor, "intervention batch head key"]:
    """Each intervention is a branch: the layer's own queries and keys with its patches."""
    placed = [
        Placed(branch, patch) for branch, each in enumerate(interventions) for patch in each.patches
    ]
    branches = len(interventions)
    of_all = replace(
        inputs,
        query=inputs.query.expand(-1, -1, branches, -1),
        key=inputs.key.expand(-1, -1, branches, -1),
        value=inputs.value.expand(-1, -1, branches, -1),
    )
    pattern = prefix_pattern(
        of_all,
        context.reads(layer),
        context.visible(layer, suffix),
        context.edits(layer, placed, suffix),
    )
    by_head = rearrange(pattern, "batch kv group branch 1 key -> branch batch (kv group) key")
    return _by_position(by_head, context.recorded.final.to(by_head.device))


def _by_position(
    pattern: Float[Tensor, "branch batch head key"], final: Int[Tensor, " batch"]
) -> Float[Tensor, "branch batch head key"]:
    """Move the weight of the final position's own key, which comes last, to its position."""
    own = pattern[..., -1:].clone()
    pattern[..., -1] = 0
    return pattern.scatter(-1, final[None, :, None, None].expand_as(own), own)
