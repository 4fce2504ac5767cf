"""One forward pass that records what each component writes, and what a replay reads."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine import finite, passes, unembedding
from analyses.engine.anatomy import Anatomy, LayerAnatomy
from analyses.engine.attention import AttentionCall, observing_attention
from analyses.engine.batches import Batch
from analyses.engine.interventions import Site
from analyses.engine.layer_calls import by_name
from analyses.engine.layer_state import check_mask
from analyses.engine.outputs import first_tensor
from analyses.engine.suffixes import MASK


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedLayer:
    """One layer at the final positions, in fp32. Writes include the residual multiplier."""

    resid_pre: Float[Tensor, "batch d_model"]
    z: Float[Tensor, "batch head d_head"]
    projected: Float[Tensor, "batch d_model"]  # z W_O + b_O, before a post-norm
    attn_out: Float[Tensor, "batch d_model"]
    mlp_out: Float[Tensor, "batch d_model"]
    resid_post: Float[Tensor, "batch d_model"]


class Keep(IntEnum):
    """How much of a forward pass is recorded; each level includes those before it."""

    WRITES = 0  # what each component wrote at the final positions
    PREFIX = 1  # what a replay of the final positions reads: their queries, all keys and values
    POSITIONS = 2  # every site at every position, for a replay from any position


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerReads:
    """What a replay of one layer reads, on the layer's own device and in the model's dtype."""

    q: Float[Tensor, "batch head d_head"]  # at the final positions
    key: Float[Tensor, "batch kv_head pos d_head"]
    value: Float[Tensor, "batch kv_head pos d_value"]
    arguments: Mapping[str, Any]  # of its call, by name, without residual and shared keys
    everywhere: Mapping[Site, Float[Tensor, "batch pos *rest"]]  # empty below Keep.POSITIONS


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """One batch of prompts, recorded."""

    numbers: tuple[int, ...]  # the prompts', one per row
    final: Int[Tensor, " batch"]
    layers: tuple[RecordedLayer, ...]
    reads: tuple[LayerReads, ...]  # empty below Keep.PREFIX
    logits: Float[Tensor, "batch d_vocab"]  # of the final residual, in fp32, after a soft-cap
    own_logits: Float[Tensor, "batch d_vocab"]  # the model's own, computed in its dtype

    def at_final(self, site: Site, layer: int, head: int | None = None) -> Float[Tensor, "batch d"]:
        """A site's activation at the final positions."""
        if site is Site.Q:
            values = self.reads[layer].q
        elif site in (Site.K, Site.V):
            rows = torch.arange(len(self.final))
            values = getattr(self.reads[layer], "key" if site is Site.K else "value")
            values = values[rows, :, self.final.to(values.device)]
        else:
            values = getattr(self.layers[layer], site.value)
        return values if head is None else values[:, head]


@torch.no_grad()
def record(
    model: PreTrainedModel, anatomy: Anatomy, batch: Batch, *, keep: Keep = Keep.WRITES
) -> Recorded:
    """Run the model once on the batch. No hook is left on it, whatever happens.

    Raises `NotFinite`, what `passes.through` raises for the lengths of the prompts, and
    `layer_state.OwnMask` for attention that a replay could not repeat.
    """
    recorders = [
        _LayerRecorder(number, layer, keep, batch.final)
        for number, layer in enumerate(anatomy.layers)
    ]
    by_attention = {
        id(layer.attention): recorder
        for layer, recorder in zip(anatomy.layers, recorders, strict=True)
    }

    def observe(call: AttentionCall) -> None:
        by_attention[id(call.module)].record_attention(call, batch)

    with ExitStack() as hooks, observing_attention(observe):
        for recorder in recorders:
            hooks.enter_context(recorder.hooked(batch))
        own_logits = passes.through(model, anatomy, batch)
    layers = tuple(recorder.recorded(anatomy.residual_multiplier) for recorder in recorders)
    logits = unembedding.logits(anatomy, layers[-1].resid_post)
    finite.check(logits.sum(-1), batch.numbers, finite.LOGITS, model.dtype)
    return Recorded(
        numbers=batch.numbers,
        final=batch.final,
        layers=layers,
        reads=tuple(recorder.reads(anatomy.residual_multiplier) for recorder in recorders if keep),
        logits=logits,
        own_logits=own_logits,
    )


def at_final(value: Tensor, batch: Batch) -> Tensor:
    """A [batch, pos, …] tensor at the final positions, in fp32 on the batch's device."""
    rows, final = batch.input_ids.shape, batch.final.to(value.device)
    by_position = value.reshape(*rows, -1) if value.dim() < 4 else value
    taken = by_position[torch.arange(rows[0], device=value.device), final]
    return taken.detach().to(batch.input_ids.device, torch.float32)


class _LayerRecorder:
    """What the hooks of one layer have recorded so far."""

    def __init__(self, number: int, anatomy: LayerAnatomy, keep: Keep, final: Tensor) -> None:
        self.number = number
        self.anatomy = anatomy
        self.keep = keep
        self.final = final
        self.z: Tensor | None = None
        self.q, self.key, self.value = (torch.empty(0) for _ in range(3))
        self.call: AttentionCall | None = None
        self.outputs: dict[int, Tensor] = {}  # by module, at the final positions
        self.whole: dict[int, Tensor] = {}  # by module, at every position; 0: the layer's input
        self.resid_pre: Tensor | None = None
        self.arguments: dict[str, Any] = {}

    def record_attention(self, call: AttentionCall, batch: Batch) -> None:
        """Holds no more than `keep` asks for: all queries of all layers are large."""
        self.z = at_final(call.z, batch)
        if self.keep:
            check_mask(self.number, self.arguments.get(MASK), call.mask)
            rows = torch.arange(len(call.query), device=call.query.device)
            self.q = call.query[rows, :, self.final.to(call.query.device)]
            self.key, self.value = call.key.contiguous(), call.value.contiguous()
        if self.keep is Keep.POSITIONS:
            self.call = call

    @contextmanager
    def hooked(self, batch: Batch) -> Iterator[None]:
        """Inside the block, the layer's input and its modules' outputs are recorded."""
        layer = self.anatomy
        rows = batch.input_ids.shape

        def before_layer(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            resid, arguments = by_name(module, args, kwargs)
            self.resid_pre = at_final(resid, batch)
            if self.keep:
                shared = None if layer.shared is None else layer.shared.argument
                self.arguments = {name: arguments[name] for name in arguments if name != shared}
            if self.keep is Keep.POSITIONS:
                self.whole[0] = resid

        def after_module(module: nn.Module, _args: Any, output: Any) -> None:
            value = first_tensor(output)
            assert value is not None
            self.outputs[id(module)] = at_final(value, batch)
            if self.keep is Keep.POSITIONS:
                self.whole[id(module)] = value.reshape(*rows, -1)

        writers = [layer.layer, layer.attention_writer, *layer.mlp]
        if layer.out_proj is not layer.attention_writer:
            writers.append(layer.out_proj)
        with ExitStack() as hooks:
            hooks.callback(
                layer.layer.register_forward_pre_hook(before_layer, with_kwargs=True).remove
            )
            for module in writers:
                hooks.callback(module.register_forward_hook(after_module).remove)
            yield

    def recorded(self, multiplier: float) -> RecordedLayer:
        layer = self.anatomy
        assert self.resid_pre is not None
        assert self.z is not None
        projected = self.outputs[id(layer.out_proj)]
        normed = self.outputs[id(layer.attention_writer)]
        zeros = torch.zeros_like(projected)
        return RecordedLayer(
            resid_pre=self.resid_pre,
            z=self.z,
            projected=projected,
            attn_out=multiplier * normed,
            mlp_out=multiplier * sum((self.outputs[id(module)] for module in layer.mlp), zeros),
            resid_post=self.outputs[id(layer.layer)],
        )

    def reads(self, multiplier: float) -> LayerReads:
        return LayerReads(
            q=self.q,
            key=self.key,
            value=self.value,
            arguments=self.arguments,
            everywhere={} if self.call is None else self._everywhere(self.call, multiplier),
        )

    def _mlp_everywhere(self) -> Tensor:
        written = [self.whole[id(module)] for module in self.anatomy.mlp]
        return torch.stack(written).sum(0) if written else torch.zeros_like(self.whole[0])

    def _everywhere(self, call: AttentionCall, multiplier: float) -> dict[Site, Tensor]:
        layer = self.anatomy
        return {
            Site.RESID_PRE: self.whole[0],
            Site.Q: call.query.transpose(1, 2),
            Site.Z: call.z,
            Site.ATTN_OUT: multiplier * self.whole[id(layer.attention_writer)],
            Site.MLP_OUT: multiplier * self._mlp_everywhere(),
            Site.RESID_POST: self.whole[id(layer.layer)],
        }
