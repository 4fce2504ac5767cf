"""The final residual and the label logits as sums over components: docs/methods.md, section 4."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine.anatomy import Anatomy, LayerAnatomy, per_head
from analyses.engine.closure import check_closure
from analyses.engine.recording import Recorded, RecordedLayer
from analyses.engine.unembedding import pre_cap_logits
from analyses.results import Component, Kind


class AttentionWrites(NamedTuple):
    heads: Float[Tensor, "batch head d_model"]
    bias: Float[Tensor, " d_model"] | None  # the part that belongs to no head


def components(anatomy: Anatomy) -> tuple[Component, ...]:
    """All components that contribute to the logits, in the order of the forward pass.

    >>> [component.label for component in components(lm.anatomy)][:3]
    ['EMBED', 'L00.H00', 'L00.H01']
    """
    ordered = [Component(kind=Kind.EMBED)]
    for number, layer in enumerate(anatomy.layers):
        ordered += [
            Component(kind=Kind.HEAD, layer=number, index=head)
            for head in range(layer.shape.n_heads)
        ]
        if layer.has_bias:
            ordered.append(Component(kind=Kind.ATTN_BIAS, layer=number))
        ordered.append(Component(kind=Kind.MLP, layer=number))
    if anatomy.has_unembed:
        ordered.append(Component(kind=Kind.UNEMBED))
    return tuple(ordered)


def attention_writes(
    layer: LayerAnatomy, recorded: RecordedLayer, multiplier: float
) -> AttentionWrites:
    """Each head's own write: w_h = m · z_h W_O[h].

    Under a post-norm its scale is frozen at the sum over heads, s = s(Σ z_h W_O[h] + b_O):
    w_h = m · (centred z_h W_O[h]) · s · gain, so that Σ w_h + bias = attn_out.
    """
    z = recorded.z
    W_O = per_head(layer.W_O.to(z.device), z.shape[1])
    heads = einsum(z, W_O, "batch head d_head, head d_head d_model -> batch head d_model")
    b_O = None if layer.b_O is None else layer.b_O.to(z.device).expand_as(recorded.projected)
    norm = layer.post_norm_formula
    if norm is None:
        return AttentionWrites(multiplier * heads, None if b_O is None else multiplier * b_O)
    scale = norm.scale(recorded.projected)
    bias = norm.frozen(torch.zeros_like(recorded.projected) if b_O is None else b_O, scale)
    if norm.bias is not None:
        bias = bias + norm.bias
    heads = norm.frozen(heads, scale[:, None])
    return AttentionWrites(multiplier * heads, multiplier * bias if layer.has_bias else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    shares: Float[Tensor, "batch component label"]
    largest_gap: float  # relative, over all checks of closure


def decompose(
    anatomy: Anatomy,
    recorded: Recorded,
    label_ids: Int[Tensor, "batch label"],
    *,
    tolerance: float,
) -> Decomposition:
    """Each component's share of every label's logit before the soft-cap, in `components` order.

    With r = Σ w_j and the final norm frozen at the scale s of the full run,

        logit = norm(r) W_U + b_U = Σ (centred w_j) · s · gain · W_U + (bias · W_U + b_U)

    Raises `DoesNotClose` where the model computes something else.
    """
    W_U = anatomy.W_U(label_ids)
    norm, final = anatomy.final_norm, recorded.layers[-1].resid_post
    scale = norm.scale(final)[:, None]
    resid = recorded.layers[0].resid_pre
    shares, gaps, total = [], [], resid.double()

    def add(writes: Float[Tensor, "batch component d_model"]) -> None:
        frozen = norm.frozen(writes, scale)
        shares.append(
            einsum(frozen, W_U, "batch component d, batch label d -> batch component label")
        )

    add(resid[:, None])
    for number, (layer, recorded_layer) in enumerate(
        zip(anatomy.layers, recorded.layers, strict=True)
    ):
        writes = attention_writes(layer, recorded_layer, anatomy.residual_multiplier)
        summed = writes.heads.double().sum(1)
        if writes.bias is not None:
            summed = summed + writes.bias
        gaps.append(
            _check_layer(number, recorded_layer, resid, summed, recorded.numbers, tolerance)
        )
        add(writes.heads)
        if writes.bias is not None:
            add(writes.bias[:, None])
        add(recorded_layer.mlp_out[:, None])
        total, resid = total + summed + recorded_layer.mlp_out, recorded_layer.resid_post
    if anatomy.has_unembed:
        bias = torch.zeros_like(norm.gain) if norm.bias is None else norm.bias
        constants = einsum(bias, W_U, "d, batch label d -> batch label") + anatomy.b_U(label_ids)
        shares.append(constants[:, None])
    attributed = torch.cat(shares, dim=1)
    gaps.append(_check_end(anatomy, recorded, label_ids, total, attributed, tolerance))
    return Decomposition(shares=attributed, largest_gap=max(gaps))


def _check_layer(
    number: int,
    recorded_layer: RecordedLayer,
    resid: Float[Tensor, "batch d_model"],
    attention: Float[Tensor, "batch d_model"],
    numbers: tuple[int, ...],
    tolerance: float,
) -> float:
    gaps = []
    for total, whole, what in (
        (
            resid,
            recorded_layer.resid_pre,
            "the output residual of the layer below and the input residual",
        ),
        (
            attention,
            recorded_layer.attn_out,
            "the sum of heads and bias and the write of attention",
        ),
        (
            recorded_layer.resid_pre.double() + recorded_layer.attn_out + recorded_layer.mlp_out,
            recorded_layer.resid_post.double(),
            "the sum of the input residual, attention and MLP and the output residual",
        ),
    ):
        gap = check_closure(
            total.double(),
            whole.double(),
            where=f"layer {number}",
            what=what,
            numbers=numbers,
            tolerance=tolerance,
        )
        gaps.append(gap)
    return max(gaps)


def _check_end(
    anatomy: Anatomy,
    recorded: Recorded,
    label_ids: Int[Tensor, "batch label"],
    total: Float[Tensor, "batch d_model"],
    attributed: Float[Tensor, "batch component label"],
    tolerance: float,
) -> float:
    """Writes sum to the final residual, components to pre-cap logits, capped to the model's own."""
    final = recorded.layers[-1].resid_post
    pre_cap = pre_cap_logits(anatomy, final, label_ids)
    logits = recorded.own_logits.gather(1, label_ids)
    gaps = []
    for summed, whole, what in (
        (total, final.double(), "the sum of all writes and the final residual"),
        (
            attributed.double().sum(1),
            pre_cap.double(),
            "the sum of all components and the logits before a soft-cap",
        ),
        (
            anatomy.cap(pre_cap),
            logits,
            "the final norm and unembedding by formula and the logits of the model",
        ),
    ):
        gap = check_closure(
            summed, whole, where="the end", what=what, numbers=recorded.numbers, tolerance=tolerance
        )
        gaps.append(gap)
    return max(gaps)
