"""The attention function that models run with here: theirs, with its inputs and output exposed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from einops import repeat
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from analyses.errors import Refused

NAME = "headbook"  # what a config's attention implementation is called


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """The inputs of one layer's attention, after rotary embedding, and its output z."""

    module: nn.Module
    query: Float[Tensor, "batch head pos d_head"]
    key: Float[Tensor, "batch kv_head pos d_head"]
    value: Float[Tensor, "batch kv_head pos d_value"]
    z: Float[Tensor, "batch pos head d_value"]
    mask: Shaped[Tensor, "..."] | None


@dataclass(frozen=True, kw_only=True)
class AttentionInputs:
    """The inputs of one layer's attention, after rotary embedding, before it is computed."""

    module: nn.Module
    query: Float[Tensor, "batch head pos d_head"]
    key: Float[Tensor, "batch kv_head pos d_head"]
    value: Float[Tensor, "batch kv_head pos d_value"]
    scaling: float
    softcap: float | None
    sinks: Float[Tensor, " head"] | None


# Tensors that add nothing: masks and queries already reflect them.
_REDUNDANT = {"position_ids", "cache_position"}


class UnknownAttention(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The model's attention depends on {name!r}, which is not supported, so the output of "
            f"each head cannot be computed. Use another model."
        )


Observer = Callable[[AttentionCall], None]
AttentionFunction = Callable[[AttentionInputs], Float[Tensor, "batch pos head d_value"]]
_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_replacement: ContextVar[AttentionFunction | None] = ContextVar("replacement", default=None)


@contextmanager
def observing_attention(observer: Observer) -> Iterator[None]:
    """Inside the block, `observer` gets every attention call of models with this function."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextmanager
def replacing_attention(function: AttentionFunction) -> Iterator[None]:
    """Inside the block, `function` computes z in place of attention."""
    token = _replacement.set(function)
    try:
        yield
    finally:
        _replacement.reset(token)


def attend(
    module: nn.Module,
    query: Float[Tensor, "batch head pos d_head"],
    key: Float[Tensor, "batch kv_head pos d_head"],
    value: Float[Tensor, "batch kv_head pos d_value"],
    attention_mask: Shaped[Tensor, "..."] | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Float[Tensor, " head"] | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "batch pos head d_value"], None]:
    """Attention with the signature of transformers' interface; z = softmax(cap(q·k scaling)) v.

    `s_aux` are sinks: one more score per head, which takes weight and contributes no value. Raises
    `UnknownAttention` for a tensor argument that is not supported.
    """
    for name, other in others.items():
        if isinstance(other, Tensor) and name not in _REDUNDANT:
            raise UnknownAttention(name)
    replacement = _replacement.get()
    if replacement is not None:
        inputs = AttentionInputs(
            module=module,
            query=query,
            key=key,
            value=value,
            scaling=scaling or query.shape[-1] ** -0.5,
            softcap=softcap,
            sinks=s_aux,
        )
        return replacement(inputs), None
    group = query.shape[1] // key.shape[1]
    k = repeat(key, "batch kv_head pos d -> batch (kv_head group) pos d", group=group)
    v = repeat(value, "batch kv_head pos d -> batch (kv_head group) pos d", group=group)
    if softcap is None and s_aux is None:
        z = scaled_dot_product_attention(
            query,
            k,
            v,
            attn_mask=attention_mask,
            is_causal=attention_mask is None and query.shape[2] > 1,
            scale=scaling,
        )
    else:
        mask = causal(query) if attention_mask is None else attention_mask
        z = _explicit(query, k, v, mask, scaling or query.shape[-1] ** -0.5, softcap, s_aux)
    z = z.transpose(1, 2).contiguous()
    observer = _observer.get()
    if observer is not None:
        observer(
            AttentionCall(
                module=module, query=query, key=key, value=value, z=z, mask=attention_mask
            )
        )
    return z, None


def causal(query: Float[Tensor, "batch head pos d_head"]) -> Bool[Tensor, "1 1 pos pos"]:
    """Each position sees itself and those before it."""
    pos = query.shape[2]
    return torch.ones(1, 1, pos, pos, dtype=torch.bool, device=query.device).tril()


def _explicit(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch head pos d_head"],
    v: Float[Tensor, "batch head pos d_value"],
    mask: Bool[Tensor, "#batch #head pos pos"],
    scaling: float,
    softcap: float | None,
    sinks: Float[Tensor, " head"] | None,
) -> Float[Tensor, "batch head pos d_value"]:
    """Written out, for what the fused kernel cannot do: soft-capped scores, and sinks."""
    scores = (q @ k.transpose(-1, -2)) * scaling
    return attention_pattern(scores, mask, softcap, sinks).to(v.dtype) @ v


def attention_pattern(
    scores: Float[Tensor, "batch head *query key"],
    mask: Bool[Tensor, "..."] | None,
    softcap: float | None,
    sinks: Float[Tensor, " head"] | None,
) -> Float[Tensor, "batch head *query key"]:
    """softmax(cap(scores)) over the keys that the mask allows; a sink takes its share of weight.

    Overwrites the scores.
    """
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)  # a copy would be large
    keys = scores.shape[-1]
    if sinks is not None:
        sink = sinks.reshape(-1, *[1] * (scores.dim() - 2)).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sink.to(scores.dtype)], dim=-1)
    return scores.softmax(-1, dtype=torch.float32)[..., :keys]


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
