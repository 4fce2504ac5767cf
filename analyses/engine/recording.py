"""One forward pass that keeps what each component wrote, and what a replay has to read."""

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
    """One layer at the final positions, in fp32. Writes are as added, multiplier included."""

    resid_pre: Float[Tensor, "batch d_model"]
    z: Float[Tensor, "batch head d_head"]
    projected: Float[Tensor, "batch d_model"]  # z W_O + b_O, before a post-norm
    attn_out: Float[Tensor, "batch d_model"]
    mlp_out: Float[Tensor, "batch d_model"]
    resid_post: Float[Tensor, "batch d_model"]


class Keep(IntEnum):
    WRITES = 0  # what each component wrote at the final positions
    PREFIX = 1  # and what a replay from there reads: queries, and all keys and values
    POSITIONS = 2  # and every site at every position, for a replay from anywhere


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerReads:
    """What a replay of one layer reads, on the layer's own device and in the model's dtype."""

    q: Float[Tensor, "batch head d_head"]  # at the final positions
    key: Float[Tensor, "batch kv_head pos d_head"]
    value: Float[Tensor, "batch kv_head pos d_value"]
    arguments: Mapping[str, Any]  # what it was called with beside residual and shared keys, by name
    everywhere: Mapping[Site, Float[Tensor, "batch pos *rest"]]  # empty unless kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    numbers: tuple[int, ...]  # the prompts', one per row
    final: Int[Tensor, " batch"]
    layers: tuple[RecordedLayer, ...]
    reads: tuple[LayerReads, ...]  # empty unless kept
    logits: Float[Tensor, "batch d_vocab"]  # of the final residual, in fp32, after a soft-cap
    own_logits: Float[Tensor, "batch d_vocab"]  # as the model itself gives them, in its dtype

    def at_final(self, site: Site, layer: int, head: int | None = None) -> Float[Tensor, "batch d"]:
        """A site's activation at the final positions, in fp32 where it was recorded in less."""
        if site is Site.Q:
            found = self.reads[layer].q
        elif site in (Site.K, Site.V):
            rows = torch.arange(len(self.final))
            found = getattr(self.reads[layer], "key" if site is Site.K else "value")
            found = found[rows, :, self.final.to(found.device)]
        else:
            found = getattr(self.layers[layer], site.value)
        return found if head is None else found[:, head]


@torch.no_grad()
def record(
    model: PreTrainedModel, anatomy: Anatomy, batch: Batch, *, keep: Keep = Keep.WRITES
) -> Recorded:
    """Runs the model once on the batch. Nothing is left on it, whatever happens.

    Raises `NotFinite`, and what a batch of such lengths is refused for. What a replay could not
    repeat is refused, too: see `layer_state.OwnMask`.
    """
    notes = [
        _Notes(number, layer, keep, batch.final) for number, layer in enumerate(anatomy.layers)
    ]
    by_attention = {
        id(layer.attention): note for layer, note in zip(anatomy.layers, notes, strict=True)
    }

    def observe(call: AttentionCall) -> None:
        by_attention[id(call.module)].attends(call, batch)

    with ExitStack() as hooks, observing_attention(observe):
        for note in notes:
            hooks.enter_context(note.taken(batch))
        own_logits = passes.through(model, anatomy, batch)
    layers = tuple(note.recorded(anatomy.residual_multiplier) for note in notes)
    logits = unembedding.logits(anatomy, layers[-1].resid_post)
    finite.check(logits.sum(-1), batch.numbers, finite.LOGITS, model.dtype)
    return Recorded(
        numbers=batch.numbers,
        final=batch.final,
        layers=layers,
        reads=tuple(note.reads(anatomy.residual_multiplier) for note in notes if keep),
        logits=logits,
        own_logits=own_logits,
    )


def at_final(value: Tensor, batch: Batch) -> Tensor:
    """A [batch, pos, …] tensor at the final positions, in fp32 on the batch's device."""
    rows, final = batch.input_ids.shape, batch.final.to(value.device)
    by_position = value.reshape(*rows, -1) if value.dim() < 4 else value
    taken = by_position[torch.arange(rows[0], device=value.device), final]
    return taken.detach().to(batch.input_ids.device, torch.float32)


class _Notes:
    """What the hooks of one layer have seen so far."""

    def __init__(self, number: int, anatomy: LayerAnatomy, keep: Keep, final: Tensor) -> None:
        self.number = number
        self.anatomy = anatomy
        self.keep = keep
        self.final = final
        self.z: Tensor | None = None
        self.q, self.key, self.value = (torch.empty(0) for _ in range(3))
        self.call: AttentionCall | None = None
        self.seen: dict[int, Tensor] = {}  # what each module gave
        self.whole: dict[int, Tensor] = {}  # the same at every position
        self.resid_pre: Tensor | None = None
        self.arguments: dict[str, Any] = {}

    def attends(self, call: AttentionCall, batch: Batch) -> None:
        """Only what is asked for is held on to: all queries of all layers are many."""
        self.z = at_final(call.z, batch)
        if self.keep:
            check_mask(self.number, self.arguments.get(MASK), call.mask)
            rows = torch.arange(len(call.query), device=call.query.device)
            self.q = call.query[rows, :, self.final.to(call.query.device)]
            self.key, self.value = call.key.contiguous(), call.value.contiguous()
        if self.keep is Keep.POSITIONS:
            self.call = call

    @contextmanager
    def taken(self, batch: Batch) -> Iterator[None]:
        """Inside the block, notes are taken of what the layer's modules give."""
        layer = self.anatomy
        rows = batch.input_ids.shape

        def begins(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            resid, arguments = by_name(module, args, kwargs)
            self.resid_pre = at_final(resid, batch)
            if self.keep:
                shared = None if layer.shared is None else layer.shared.argument
                self.arguments = {name: arguments[name] for name in arguments if name != shared}
            if self.keep is Keep.POSITIONS:
                self.whole[0] = resid

        def gave(module: nn.Module, _args: Any, output: Any) -> None:
            value = first_tensor(output)
            assert value is not None
            self.seen[id(module)] = at_final(value, batch)
            if self.keep is Keep.POSITIONS:
                self.whole[id(module)] = value.reshape(*rows, -1)

        writers = [layer.layer, layer.attention_writer, *layer.mlp]
        if layer.out_proj is not layer.attention_writer:
            writers.append(layer.out_proj)
        with ExitStack() as hooks:
            hooks.callback(layer.layer.register_forward_pre_hook(begins, with_kwargs=True).remove)
            for module in writers:
                hooks.callback(module.register_forward_hook(gave).remove)
            yield

    def recorded(self, multiplier: float) -> RecordedLayer:
        layer = self.anatomy
        assert self.resid_pre is not None
        assert self.z is not None
        projected = self.seen[id(layer.out_proj)]
        normed = self.seen[id(layer.attention_writer)]
        nothing = torch.zeros_like(projected)
        return RecordedLayer(
            resid_pre=self.resid_pre,
            z=self.z,
            projected=projected,
            attn_out=multiplier * normed,
            mlp_out=multiplier * sum((self.seen[id(module)] for module in layer.mlp), nothing),
            resid_post=self.seen[id(layer.layer)],
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
