"""Logits of a model under patches, from plain forward hooks: nothing of the engine is used."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

ATTENTION = ("attn", "attention", "mixer")


class NoProjection(Exception):
    """The heads' output projection is not found; the message says where."""


@dataclass(frozen=True)
class ZeroHead:
    layer: int
    head: int
    position: int


@dataclass(frozen=True)
class OtherResidual:
    """The residual that enters a layer, at one position, as it is for other tokens."""

    layer: int
    position: int
    ids: tuple[int, ...]


Change = ZeroHead | OtherResidual


class HookedModel:
    def __init__(self, folder: Path, ids: Sequence[int]) -> None:
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()
        config = self.model.config.get_text_config()
        self.n_heads = int(config.num_attention_heads)
        self.layers = _layers(self.model, int(config.num_hidden_layers))
        self.projections = [
            self._projection(number, layer, config.hidden_size, ids)
            for number, layer in enumerate(self.layers)
        ]

    @torch.no_grad()
    def logits(self, ids: Sequence[int], changes: Sequence[Change] = ()) -> Tensor:
        """Of the last position."""
        with ExitStack() as hooks:
            for change in changes:
                if isinstance(change, ZeroHead):
                    site, edit = self.projections[change.layer], self._zeroed(change)
                else:
                    site, edit = self.layers[change.layer], self._from_others(change)
                handle = site.register_forward_pre_hook(_edits(edit), with_kwargs=True)
                hooks.callback(handle.remove)
            found: Tensor = self.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        return found

    def _zeroed(self, change: ZeroHead) -> Callable[[Tensor], Tensor]:
        def edit(z: Tensor) -> Tensor:
            changed = z.clone()
            width = z.shape[-1] // self.n_heads
            columns = slice(change.head * width, (change.head + 1) * width)
            changed.view(-1, z.shape[-1])[change.position, columns] = 0
            return changed

        return edit

    def _from_others(self, change: OtherResidual) -> Callable[[Tensor], Tensor]:
        other = self._entering(change.layer, change.ids)

        def edit(resid: Tensor) -> Tensor:
            changed = resid.clone()
            changed[0, change.position] = other[0, change.position]
            return changed

        return edit

    def _entering(self, layer: int, ids: Sequence[int]) -> Tensor:
        seen: list[Tensor] = []

        def look(value: Tensor) -> Tensor:
            seen.append(value)
            return value

        handle = self.layers[layer].register_forward_pre_hook(_edits(look), with_kwargs=True)
        try:
            self.model(torch.tensor([ids]), use_cache=False)
        finally:
            handle.remove()
        return seen[0]

    @torch.no_grad()
    def _projection(
        self, number: int, layer: nn.Module, d_model: int, ids: Sequence[int]
    ) -> nn.Module:
        """The last linear map of a layer's attention that gives the residual's width."""
        called: list[nn.Module] = []
        with ExitStack() as hooks:
            for name, module in layer.named_modules():
                inside = any(part in name for part in ATTENTION)
                if inside and isinstance(module, nn.Linear | Conv1D):
                    handle = module.register_forward_hook(lambda m, _i, _o: called.append(m))
                    hooks.callback(handle.remove)
            self.model(torch.tensor([ids]), use_cache=False)
        fitting = [each for each in called if _widths(each)[1] == d_model]
        if not fitting or _widths(fitting[-1])[0] % self.n_heads:
            raise NoProjection(f"layer {number} has no linear map of {self.n_heads} heads' outputs")
        return fitting[-1]


Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def _edits(edit: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Args, Kwargs]]:
    """A hook that changes the first tensor that a module is given, by place or by name."""

    def hook(_module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        if args:
            return (edit(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}

    return hook


def _widths(module: nn.Module) -> tuple[int, int]:
    shape: Any = module.weight.shape
    given, made = shape if isinstance(module, Conv1D) else shape[::-1]
    return given, made


def _layers(model: nn.Module, n_layers: int) -> list[nn.Module]:
    """The first list of as many modules as the config says; a tower beside the text has its own."""
    for name, stack in model.named_modules():
        tower = any(part in name for part in ("vision", "visual", "audio", "encoder"))
        if isinstance(stack, nn.ModuleList) and len(stack) == n_layers and not tower:
            return list(stack)
    raise NoProjection(f"there is no list of {n_layers} layers")
