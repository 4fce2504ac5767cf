"""Attention of many branches, which share recorded keys and have a few tokens of their own."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from analyses.engine.attention import AttentionInputs, attention_pattern
from analyses.engine.edits import HeadPatches, LayerEdits
from analyses.engine.interventions import Site
from analyses.engine.recording import LayerReads
from analyses.engine.suffixes import Visible

# Axes: batch, kv (key-value head), group (its query heads), branch, suffix, key, d.
Scores = Float[Tensor, "batch kv group branch suffix key"]
Own = Float[Tensor, "batch kv branch suffix d"]


def attend_to_prefix(
    inputs: AttentionInputs, reads: LayerReads, visible: Visible, edits: LayerEdits
) -> Float[Tensor, "batch token head d_value"]:
    """z = pattern · v, where a token is a (branch suffix) pair; see `prefix_pattern`."""
    n, own_v = visible.prefix, _own(inputs.value, edits)
    pattern = prefix_pattern(inputs, reads, visible, edits).to(own_v.dtype)
    z = _weighted(pattern, reads.value[:, :, :n], own_v)
    for head in edits.by_head(Site.V):
        _patch_z(z, pattern, own_v, head, reads, edits)
    z = rearrange(z, "batch kv group branch suffix d -> batch branch suffix (kv group) d")
    edits.apply(Site.Z, z)
    return z.flatten(1, 2)


def prefix_pattern(
    inputs: AttentionInputs, reads: LayerReads, visible: Visible, edits: LayerEdits
) -> Scores:
    """softmax(cap(q·k scaling)) in fp32.

    Each token's keys are the first `visible.prefix` recorded ones, then those of its own branch.
    """
    suffix, n, n_kv = edits.suffix.width, visible.prefix, inputs.key.shape[1]
    q = rearrange(
        inputs.query, "batch head (branch suffix) d -> batch branch suffix head d", suffix=suffix
    )
    if any(edits.of(Site.Q)):
        q = q.clone()
        edits.apply(Site.Q, q)
    q = rearrange(q, "batch branch suffix (kv group) d -> batch kv group branch suffix d", kv=n_kv)
    own_k = _own(inputs.key, edits)
    scores = _scores(q, reads.key[:, :, :n], own_k, inputs.scaling)
    for head in edits.by_head(Site.K):
        _patch_scores(scores, q, own_k, head, inputs.scaling, reads, edits)
    mask = None if visible.mask is None else visible.mask.to(scores.device)[:, None, None]
    by_head = attention_pattern(scores.flatten(1, 2), mask, inputs.softcap, inputs.sinks)
    return by_head.view(scores.shape)


def _own(x: Float[Tensor, "batch kv token d"], edits: LayerEdits) -> Own:
    """The branches' own keys or values."""
    return rearrange(
        x, "batch kv (branch suffix) d -> batch kv branch suffix d", suffix=edits.suffix.width
    )


def _scores(
    q: Float[Tensor, "batch kv group branch suffix d"],
    prefix: Float[Tensor, "batch kv pos d"],
    own: Own,
    scaling: float,
) -> Scores:
    """In one buffer: scores for the recorded prefix, then for the branch's own tokens."""
    batch, kv, group, branch, suffix, _ = q.shape
    n = prefix.shape[2]
    scores = q.new_empty(batch * kv, group * branch * suffix, n + suffix)
    flat = (q * scaling).reshape(batch * kv, group * branch * suffix, -1)
    torch.bmm(flat, prefix.flatten(0, 1).transpose(1, 2), out=scores[..., :n])
    scores = scores.view(batch, kv, group, branch, suffix, n + suffix)
    scores[..., n:] = einsum(
        flat.view(q.shape), own, "b kv g r s d, b kv r key d -> b kv g r s key"
    )
    return scores


def _weighted(
    pattern: Scores, prefix: Float[Tensor, "batch kv pos d"], own: Own
) -> Float[Tensor, "batch kv group branch suffix d"]:
    n = prefix.shape[2]
    batch, kv, *rows, keys = pattern.shape
    left = pattern.view(batch * kv, -1, keys)[..., :n]  # a view, no copy
    of_prefix = torch.bmm(left, prefix.flatten(0, 1)).view(batch, kv, *rows, -1)
    of_own = einsum(pattern[..., n:], own, "b kv g r s key, b kv r key d -> b kv g r s d")
    return of_prefix.add_(of_own)


def _patch_scores(
    scores: Scores,
    q: Float[Tensor, "batch kv group branch suffix d"],
    own: Own,
    head: HeadPatches,
    scaling: float,
    reads: LayerReads,
    edits: LayerEdits,
) -> None:
    """Recompute one head's scores at the final position from its patched keys."""
    kv, group = divmod(head.head, scores.shape[2])
    keys = edits.suffix.merged(reads.key[:, kv], own[:, kv, head.branch])
    keys = edits.read(head, keys)
    query = edits.suffix.at_final(q[:, kv, group, head.branch])
    row = einsum(query * scaling, keys, "batch d, batch pos d -> batch pos")
    n = scores.shape[-1] - edits.suffix.width
    edits.suffix.set_final(
        scores[:, kv, group, head.branch],
        torch.cat([row[:, :n], edits.suffix.gather(row)], dim=1),
    )


def _patch_z(
    z: Float[Tensor, "batch kv group branch suffix d"],
    pattern: Scores,
    own: Own,
    head: HeadPatches,
    reads: LayerReads,
    edits: LayerEdits,
) -> None:
    """Recompute one head's z at the final position from its patched values."""
    kv, group = divmod(head.head, pattern.shape[2])
    values = edits.suffix.merged(reads.value[:, kv], own[:, kv, head.branch])
    values = edits.read(head, values)
    n = pattern.shape[-1] - edits.suffix.width
    weights = edits.suffix.at_final(pattern[:, kv, group, head.branch])
    visible_values = torch.cat([values[:, :n], edits.suffix.gather(values)], dim=1)
    edits.suffix.set_final(
        z[:, kv, group, head.branch],
        einsum(weights, visible_values, "batch key, batch key d -> batch d"),
    )
