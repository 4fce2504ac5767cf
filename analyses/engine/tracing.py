"""Finds a model's anatomy in one forward pass, by following tensors from module to module.

No family is recognised by name. The result is used only once closure has verified it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from analyses.checkpoints.shapes import LayerShape
from analyses.engine import passes
from analyses.engine.anatomy import Anatomy, LayerAnatomy
from analyses.engine.attention import AttentionCall, observing_attention
from analyses.engine.layer_state import find_shared
from analyses.engine.norms import Norm, probe
from analyses.engine.outputs import first_tensor
from analyses.engine.reach import limits_of
from analyses.engine.shared_keys import SharedKeys
from analyses.errors import Refused


class NoAttentionInterface(Refused):
    def __init__(self, family: str) -> None:
        super().__init__(
            f"The attention of {family!r} models does not go through transformers' attention "
            f"interface, so the output of each head cannot be read. gptj, gpt_neo, bloom and "
            f"falcon are such families. Use a model of another one (llama, qwen2, gpt2, gemma2 …)."
        )


class UnknownAnatomy(Refused):
    def __init__(self, where: str, what: str) -> None:
        super().__init__(
            f"The structure of the model is not recognised: {where}, {what}. Use another model."
        )


@dataclass(frozen=True)
class Call:
    """One module's call in a forward pass. Holds its tensors, so that no address is reused."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor

    def reads(self, value: Tensor) -> bool:
        return any(same(value, given) for given in self.inputs)

    @property
    def is_identity(self) -> bool:
        """Whether its output is its input, as of an inactive dropout."""
        return self.reads(self.output)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether both share the same memory; a view of another shape counts."""
    return a.data_ptr() == b.data_ptr() and a.numel() == b.numel()


def trace(model: PreTrainedModel, input_ids: Tensor) -> tuple[list[Call], list[AttentionCall]]:
    """All module calls of one forward pass, in the order of their ends, and all attention calls."""
    calls: list[Call] = []
    attention: list[AttentionCall] = []

    def ended(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        result = first_tensor(output)
        if result is not None and result.is_floating_point():
            given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            calls.append(Call(module, tuple(given), result))

    with ExitStack() as hooks, observing_attention(attention.append):
        for module in model.modules():
            handle = module.register_forward_hook(ended, with_kwargs=True)
            hooks.callback(handle.remove)
        passes.plain(model, input_ids)
    return calls, attention


def find_anatomy(model: PreTrainedModel, input_ids: Tensor) -> Anatomy:
    calls, attention = trace(model, input_ids)
    config = model.config.get_text_config()
    if not attention:
        raise NoAttentionInterface(config.model_type)
    layers = _layers(model, [call.module for call in attention])
    _check_layer_count(len(layers), config)
    shared_keys_of_layers = find_shared(model, layers, input_ids)
    anatomies = [
        _layer_anatomy(number, layer, call, calls, shared, config.hidden_size, input_ids.device)
        for number, (layer, call, shared) in enumerate(
            zip(layers, attention, shared_keys_of_layers, strict=True)
        )
    ]
    return Anatomy(
        layers=tuple(anatomies),
        limits=limits_of(model),
        residual_multiplier=_number(config, "residual_multiplier", 1.0),
        final_norm=_final_norm(layers, calls, config.hidden_size, input_ids.device),
        unembedding=_unembedding(model),
        logit_multiplier=_number(config, "logit_scale", 1.0)
        / _number(config, "logits_scaling", 1.0),
        logit_cap=getattr(config, "final_logit_softcapping", None),
    )


def _number(config: Any, name: str, default: float) -> float:
    value = getattr(config, name, None)
    return default if value is None else float(value)


def _layers(model: nn.Module, attention: Sequence[nn.Module]) -> list[nn.Module]:
    """The module list whose entries each contain the attention of one layer."""
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList) and len(stack) == len(attention):
            pairs = zip(stack, attention, strict=True)
            if all(any(inner is own for inner in layer.modules()) for layer, own in pairs):
                return list(stack)
    raise UnknownAnatomy(
        "its layers",
        f"no module list has one of the {len(attention)} attention calls in each entry",
    )


def _check_layer_count(traced: int, config: Any) -> None:
    configured = getattr(config, "num_hidden_layers", traced)
    if configured != traced:
        raise UnknownAnatomy(
            "its attention", f"it ran with {traced} layers, its config says {configured}"
        )


def _layer_anatomy(
    number: int,
    layer: nn.Module,
    attention: AttentionCall,
    calls: Sequence[Call],
    shared: SharedKeys | None,
    d_model: int,
    device: torch.device,
) -> LayerAnatomy:
    """Formulas are on `device`, with recorded values, wherever the layer's weights are."""
    inside = {id(module) for module in layer.modules()} - {id(layer)}
    own = [call for call in calls if id(call.module) in inside]
    out_proj, projected = _out_proj(number, attention, own)
    post_norm = next(_readers(projected, own), None)
    attn_out = post_norm.output if post_norm else projected
    children = {id(module) for module in layer.children()}
    unread_outputs = [
        call
        for call in own
        if id(call.module) in children
        and call.output.shape[-1] == d_model
        and not call.is_identity
        and not same(call.output, attn_out)
        and next(_readers(call.output, own), None) is None
    ]
    return LayerAnatomy(
        layer=layer,
        attention=attention.module,
        out_proj=out_proj,
        post_norm=post_norm.module if post_norm else None,
        post_norm_formula=probe(post_norm.module, d_model, device) if post_norm else None,
        mlp=tuple(call.module for call in unread_outputs),
        shape=_shape(number, attention),
        shared=shared,
    )


def _shape(number: int, attention: AttentionCall) -> LayerShape:
    """As attention ran; every key-value head is shared by equally many heads."""
    n_heads, d_qk = attention.query.shape[1], attention.query.shape[3]
    n_kv_heads, d_v = attention.value.shape[1], attention.value.shape[3]
    if (attention.key.shape[1], attention.z.shape[2:]) != (n_kv_heads, (n_heads, d_v)):
        raise UnknownAnatomy(
            f"layer {number}",
            f"its {attention.key.shape[1]} keys, {n_kv_heads} values and {n_heads} heads do not "
            f"match",
        )
    return LayerShape(n_heads=n_heads, n_kv_heads=n_kv_heads, d_qk=d_qk, d_v=d_v)


def _readers(value: Tensor, calls: Sequence[Call]) -> Iterator[Call]:
    """The calls that transform a value."""
    return (call for call in calls if call.reads(value) and not call.is_identity)


def _out_proj(
    number: int, attention: AttentionCall, calls: Sequence[Call]
) -> tuple[nn.Linear | Conv1D, Tensor]:
    """The linear map applied to z, and its output."""
    for call in _readers(attention.z, calls):
        if isinstance(call.module, nn.Linear | Conv1D):
            return call.module, call.output
    raise UnknownAnatomy(
        f"layer {number}", "no linear map is applied to the output of its attention heads"
    )


def _final_norm(
    layers: Sequence[nn.Module], calls: Sequence[Call], d_model: int, device: torch.device
) -> Norm:
    resid = next(call.output for call in reversed(calls) if call.module is layers[-1])
    for call in _readers(resid, calls):
        if not any(call.module.children()) and call.output.shape[-1] == d_model:
            return probe(call.module, d_model, device)
    raise UnknownAnatomy("after the last layer", "no norm reads the final residual")


def _unembedding(model: PreTrainedModel) -> nn.Linear:
    unembedding = cast(Any, model).get_output_embeddings()
    if not isinstance(unembedding, nn.Linear):
        raise UnknownAnatomy("at the end", "the unembedding is not one linear map")
    return unembedding


@contextmanager
def own_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block, the model computes attention by its family's own eager code."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
