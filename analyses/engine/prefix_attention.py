"""Attention of many variants, which share recorded keys and have a few tokens of their own."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from analyses.engine.attention import AttentionInputs, attention_pattern
from analyses.engine.edits import LayerEdits, OfHead
from analyses.engine.interventions import Site
from analyses.engine.recording import LayerReads
from analyses.engine.suffixes import Visible

# Axes: batch, kv (key-value head), group (its query heads), variant, suffix, key, d.
Scores = Float[Tensor, "batch kv group variant suffix key"]
Own = Float[Tensor, "batch kv variant suffix d"]


def attend_to_prefix(
    inputs: AttentionInputs, reads: LayerReads, visible: Visible, edits: LayerEdits
) -> Float[Tensor, "batch token head d_value"]:
    """z = pattern · v, where a token is a (variant suffix) pair; see `prefix_pattern`."""
    n, own_v = visible.prefix, _own(inputs.value, edits)
    pattern = prefix_pattern(inputs, reads, visible, edits).to(own_v.dtype)
    z = _weighted(pattern, reads.value[:, :, :n], own_v)
    for place in edits.by_head(Site.V):
        _reread_values(z, pattern, own_v, place, reads, edits)
    z = rearrange(z, "batch kv group variant suffix d -> batch variant suffix (kv group) d")
    edits.apply(Site.Z, z)
    return z.flatten(1, 2)


def prefix_pattern(
    inputs: AttentionInputs, reads: LayerReads, visible: Visible, edits: LayerEdits
) -> Scores:
    """softmax(cap(q·k scaling)) in fp32.

    A token's keys are the first `visible.prefix` recorded ones, then its variant's own.
    """
    suffix, n, n_kv = edits.suffix.width, visible.prefix, inputs.key.shape[1]
    q = rearrange(
        inputs.query, "batch head (variant suffix) d -> batch variant suffix head d", suffix=suffix
    )
    if any(edits.of(Site.Q)):
        q = q.clone()
        edits.apply(Site.Q, q)
    q = rearrange(
        q, "batch variant suffix (kv group) d -> batch kv group variant suffix d", kv=n_kv
    )
    own_k = _own(inputs.key, edits)
    scores = _scores(q, reads.key[:, :, :n], own_k, inputs.scaling)
    for place in edits.by_head(Site.K):
        _reread_keys(scores, q, own_k, place, inputs.scaling, reads, edits)
    mask = None if visible.mask is None else visible.mask.to(scores.device)[:, None, None]
    by_head = attention_pattern(scores.flatten(1, 2), mask, inputs.softcap, inputs.sinks)
    return by_head.view(scores.shape)


def _own(x: Float[Tensor, "batch kv token d"], edits: LayerEdits) -> Own:
    """The variants' own keys or values."""
    return rearrange(
        x, "batch kv (variant suffix) d -> batch kv variant suffix d", suffix=edits.suffix.width
    )


def _scores(
    q: Float[Tensor, "batch kv group variant suffix d"],
    prefix: Float[Tensor, "batch kv pos d"],
    own: Own,
    scaling: float,
) -> Scores:
    """In one buffer: to the prefix on the left, to the variant's own tokens on the right."""
    batch, kv, group, variant, suffix, _ = q.shape
    n = prefix.shape[2]
    scores = q.new_empty(batch * kv, group * variant * suffix, n + suffix)
    flat = (q * scaling).reshape(batch * kv, group * variant * suffix, -1)
    torch.bmm(flat, prefix.flatten(0, 1).transpose(1, 2), out=scores[..., :n])
    scores = scores.view(batch, kv, group, variant, suffix, n + suffix)
    scores[..., n:] = einsum(
        flat.view(q.shape), own, "b kv g r s d, b kv r key d -> b kv g r s key"
    )
    return scores


def _weighted(
    pattern: Scores, prefix: Float[Tensor, "batch kv pos d"], own: Own
) -> Float[Tensor, "batch kv group variant suffix d"]:
    n = prefix.shape[2]
    batch, kv, *rows, keys = pattern.shape
    left = pattern.view(batch * kv, -1, keys)[..., :n]  # no copy: rows only lie further apart
    of_prefix = torch.bmm(left, prefix.flatten(0, 1)).view(batch, kv, *rows, -1)
    of_own = einsum(pattern[..., n:], own, "b kv g r s key, b kv r key d -> b kv g r s d")
    return of_prefix.add_(of_own)


def _reread_keys(
    scores: Scores,
    q: Float[Tensor, "batch kv group variant suffix d"],
    own: Own,
    place: OfHead,
    scaling: float,
    reads: LayerReads,
    edits: LayerEdits,
) -> None:
    """The final position's scores of one head, from keys that only it reads."""
    kv, group = divmod(place.head, scores.shape[2])
    keys = edits.suffix.merged(reads.key[:, kv], own[:, kv, place.variant])
    keys = edits.read(place, keys)
    query = edits.suffix.at_final(q[:, kv, group, place.variant])
    row = einsum(query * scaling, keys, "batch d, batch pos d -> batch pos")
    n = scores.shape[-1] - edits.suffix.width
    edits.suffix.set_final(
        scores[:, kv, group, place.variant],
        torch.cat([row[:, :n], edits.suffix.gather(row)], dim=1),
    )


def _reread_values(
    z: Float[Tensor, "batch kv group variant suffix d"],
    pattern: Scores,
    own: Own,
    place: OfHead,
    reads: LayerReads,
    edits: LayerEdits,
) -> None:
    """The final position's z of one head, from values that only it reads."""
    kv, group = divmod(place.head, pattern.shape[2])
    values = edits.suffix.merged(reads.value[:, kv], own[:, kv, place.variant])
    values = edits.read(place, values)
    n = pattern.shape[-1] - edits.suffix.width
    weights = edits.suffix.at_final(pattern[:, kv, group, place.variant])
    seen = torch.cat([values[:, :n], edits.suffix.gather(values)], dim=1)
    edits.suffix.set_final(
        z[:, kv, group, place.variant],
        einsum(weights, seen, "batch key, batch key d -> batch d"),
    )
