"""One forward pass that keeps what each component wrote at the prompts' final positions."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine.anatomy import Anatomy, LayerAnatomy
from analyses.engine.attention import AttentionCall, listening
from analyses.engine.batches import Batch
from analyses.engine.tracing import first_tensor


@dataclass(frozen=True, kw_only=True)
class RecordedLayer:
    """One layer at the final positions, in fp32. Writes are as added, multiplier included."""

    resid_pre: Float[Tensor, "batch d_model"]
    z: Float[Tensor, "batch head d_head"]
    projected: Float[Tensor, "batch d_model"]  # z W_O + b_O, before a post-norm
    attn_out: Float[Tensor, "batch d_model"]
    mlp_out: Float[Tensor, "batch d_model"]
    resid_post: Float[Tensor, "batch d_model"]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    numbers: tuple[int, ...]  # the prompts', one per row
    layers: tuple[RecordedLayer, ...]
    logits: Float[Tensor, "batch d_vocab"]  # the model's own, after a soft-cap


@torch.no_grad()
def record(model: PreTrainedModel, anatomy: Anatomy, batch: Batch) -> Recorded:
    """Runs the model once on the batch. Nothing is left on it, whatever happens."""
    notes = [_Notes(layer) for layer in anatomy.layers]
    by_attention = {
        id(layer.attention): note for layer, note in zip(anatomy.layers, notes, strict=True)
    }

    def heard(call: AttentionCall) -> None:
        by_attention[id(call.module)].z = at_final(call.z, batch)

    with ExitStack() as hooks, listening(heard):
        for note in notes:
            hooks.enter_context(note.taken(batch))
        hooks.enter_context(_final_only(anatomy.unembedding, batch))
        output = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        )
    return Recorded(
        numbers=batch.numbers,
        layers=tuple(note.recorded(anatomy.residual_multiplier) for note in notes),
        logits=output.logits[:, 0].to(batch.input_ids.device, torch.float32),
    )


def at_final(value: Tensor, batch: Batch) -> Tensor:
    """A [batch, pos, …] tensor at the final positions, in fp32 on the batch's device."""
    rows, final = batch.input_ids.shape, batch.final.to(value.device)
    by_position = value.reshape(*rows, -1) if value.dim() < 4 else value
    taken = by_position[torch.arange(rows[0], device=value.device), final]
    return taken.detach().to(batch.input_ids.device, torch.float32)


class _Notes:
    """What the hooks of one layer have seen so far."""

    def __init__(self, anatomy: LayerAnatomy) -> None:
        self.anatomy = anatomy
        self.z: Tensor | None = None
        self.seen: dict[int, Tensor] = {}  # what each module gave
        self.resid_pre: Tensor | None = None

    @contextmanager
    def taken(self, batch: Batch) -> Iterator[None]:
        """Inside the block, notes are taken of what the layer's modules give."""
        layer = self.anatomy

        def begins(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            self.resid_pre = at_final(args[0] if args else kwargs["hidden_states"], batch)

        def gave(module: nn.Module, _args: Any, output: Any) -> None:
            value = first_tensor(output)
            assert value is not None
            self.seen[id(module)] = at_final(value, batch)

        writers = [layer.layer, layer.out_proj, *layer.mlp]
        if layer.post_norm is not None:
            writers.append(layer.post_norm)
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
        normed = projected if layer.post_norm is None else self.seen[id(layer.post_norm)]
        nothing = torch.zeros_like(projected)
        return RecordedLayer(
            resid_pre=self.resid_pre,
            z=self.z,
            projected=projected,
            attn_out=multiplier * normed,
            mlp_out=multiplier * sum((self.seen[id(module)] for module in layer.mlp), nothing),
            resid_post=self.seen[id(layer.layer)],
        )


@contextmanager
def _final_only(unembedding: nn.Module, batch: Batch) -> Iterator[None]:
    """Inside the block, only final positions are unembedded: no other logits are read."""

    def select(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        resid = args[0]
        rows = torch.arange(resid.shape[0], device=resid.device)
        return (resid[rows, batch.final.to(resid.device)][:, None], *args[1:])

    handle = unembedding.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
