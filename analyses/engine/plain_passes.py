"""Plain forward passes with changes made by hooks: an independent reference for replays.

Each row of a pass is the same prompt with a different change; the last row has none. Attention is
the model's own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine import passes
from analyses.engine.anatomy import Anatomy, LayerAnatomy
from analyses.engine.outputs import first_tensor
from analyses.engine.tracing import own_attention


@dataclass(frozen=True, kw_only=True)
class Change:
    """A component, a head or a layer's MLP, that is set to zero at one position."""

    layer: int
    head: int | None
    position: int

    def writers(self, layer: LayerAnatomy) -> tuple[nn.Module, ...]:
        """The modules whose outputs are added to the residual."""
        return layer.mlp if self.head is None else (layer.attention_writer,)


@dataclass(frozen=True, kw_only=True)
class PlainLogits:
    """At the last position: a row for each change, then one for the unchanged model."""

    total: Float[Tensor, "row d_vocab"]
    direct: Float[Tensor, "row d_vocab"]  # where only the final residual changes


@torch.no_grad()
def plain_logits(
    model: PreTrainedModel, anatomy: Anatomy, ids: Int[Tensor, " pos"], changes: Sequence[Change]
) -> PlainLogits:
    rows = ids.expand(len(changes) + 1, -1)
    written: dict[nn.Module, Tensor] = {}
    with own_attention(model):
        with ExitStack() as hooks:
            for row, change in enumerate(changes):
                hooks.enter_context(_changed(anatomy, row, change, rows))
            for change in changes:
                for module in change.writers(anatomy.layers[change.layer]):
                    hooks.enter_context(_recorded(module, written, rows))
            total = passes.plain(model, rows)[:, -1]
        difference = torch.zeros(len(rows), len(anatomy.layers[0].W_O.T), device=ids.device)
        for row, change in enumerate(changes):
            for module in change.writers(anatomy.layers[change.layer]):
                difference[row] += anatomy.residual_multiplier * (
                    written[module][row] - written[module][-1]
                )
        with _added(anatomy.layers[-1].layer, difference, rows):
            direct = passes.plain(model, rows)[:, -1]
    return PlainLogits(
        total=total.to(ids.device, torch.float32), direct=direct.to(ids.device, torch.float32)
    )


@contextmanager
def _hooked(module: nn.Module, edit: Callable[[Tensor], None], rows: Tensor) -> Iterator[None]:
    """Inside the block, `edit` gets the module's output, [row, pos, d], and may change it."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        value = first_tensor(output)
        assert value is not None
        edit(value.view(*rows.shape, -1))

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _changed(anatomy: Anatomy, row: int, change: Change, rows: Tensor) -> Iterator[None]:
    layer = anatomy.layers[change.layer]

    def set_to_zero(written: Tensor) -> None:
        written[row, change.position] = 0

    def without_head(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].clone()
        z.view(*rows.shape, layer.shape.n_heads, -1)[row, change.position, change.head] = 0
        return (z, *args[1:])

    with ExitStack() as hooks:
        if change.head is None:
            for module in layer.mlp:
                hooks.enter_context(_hooked(module, set_to_zero, rows))
        else:
            hooks.callback(layer.out_proj.register_forward_pre_hook(without_head).remove)
        yield


def _recorded(
    module: nn.Module, written: dict[nn.Module, Tensor], rows: Tensor
) -> AbstractContextManager[None]:
    def record(given: Tensor) -> None:
        written[module] = given[:, -1].to(rows.device, torch.float32)

    return _hooked(module, record, rows)


def _added(
    last: nn.Module, difference: Float[Tensor, "row d_model"], rows: Tensor
) -> AbstractContextManager[None]:
    def add(resid: Tensor) -> None:
        resid[:, -1] += difference.to(resid)

    return _hooked(last, add, rows)
