"""Plain forward passes with changes, to prove replays by: hooks of their own and nothing else.

Every row of a pass is the same prompt with another change; the last row has none. Attention is the
model's own.
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
    """A part that writes nothing at one position: a head, or a layer's whole MLP."""

    layer: int
    head: int | None
    position: int

    def writers(self, layer: LayerAnatomy) -> tuple[nn.Module, ...]:
        """The modules that give what is written to the residual."""
        return layer.mlp if self.head is None else (layer.attention_writer,)


@dataclass(frozen=True, kw_only=True)
class PlainLogits:
    """At the last position; a row for each change, then the model as it is."""

    total: Float[Tensor, "row d_vocab"]
    direct: Float[Tensor, "row d_vocab"]  # where only the final residual hears of the change


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
                    hooks.enter_context(_noted(module, written, rows))
            total = passes.plain(model, rows)[:, -1]
        moved = torch.zeros(len(rows), len(anatomy.layers[0].W_O.T), device=ids.device)
        for row, change in enumerate(changes):
            for module in change.writers(anatomy.layers[change.layer]):
                moved[row] += anatomy.residual_multiplier * (
                    written[module][row] - written[module][-1]
                )
        with _added(anatomy.layers[-1].layer, moved, rows):
            direct = passes.plain(model, rows)[:, -1]
    return PlainLogits(
        total=total.to(ids.device, torch.float32), direct=direct.to(ids.device, torch.float32)
    )


@contextmanager
def _hooked(module: nn.Module, see: Callable[[Tensor], None], rows: Tensor) -> Iterator[None]:
    """Inside the block, `see` may look at what the module gives, [row, pos, d], and change it."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        value = first_tensor(output)
        assert value is not None
        see(value.view(*rows.shape, -1))

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _changed(anatomy: Anatomy, row: int, change: Change, rows: Tensor) -> Iterator[None]:
    layer = anatomy.layers[change.layer]

    def nothing(written: Tensor) -> None:
        written[row, change.position] = 0

    def without_head(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].clone()
        z.view(*rows.shape, layer.shape.n_heads, -1)[row, change.position, change.head] = 0
        return (z, *args[1:])

    with ExitStack() as hooks:
        if change.head is None:
            for module in layer.mlp:
                hooks.enter_context(_hooked(module, nothing, rows))
        else:
            hooks.callback(layer.out_proj.register_forward_pre_hook(without_head).remove)
        yield


def _noted(
    module: nn.Module, written: dict[nn.Module, Tensor], rows: Tensor
) -> AbstractContextManager[None]:
    def note(given: Tensor) -> None:
        written[module] = given[:, -1].to(rows.device, torch.float32)

    return _hooked(module, note, rows)


def _added(
    last: nn.Module, moved: Float[Tensor, "row d_model"], rows: Tensor
) -> AbstractContextManager[None]:
    def add(resid: Tensor) -> None:
        resid[:, -1] += moved.to(resid)

    return _hooked(last, add, rows)
