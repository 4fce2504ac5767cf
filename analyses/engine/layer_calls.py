"""Every layer's call in a forward pass: its arguments besides the residual, and its outputs."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine import passes
from analyses.engine.attention import AttentionCall, observing_attention


@dataclass
class LayerCall:
    """One layer's call: its arguments by name, copied when it began, and its outputs."""

    arguments: Mapping[str, Any]
    live: Mapping[str, Any]  # the arguments themselves, which layers may modify
    attention: AttentionCall | None = None
    others: list[Tensor] = field(default_factory=list)  # its outputs besides the residual


def layer_calls(
    model: PreTrainedModel, layers: Sequence[nn.Module], input_ids: Tensor, *, altered: bool = False
) -> list[LayerCall]:
    """All layers' calls on two rows, one padded; with `altered`, from a different residual."""
    calls: list[LayerCall] = []

    def before_layer(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        _, arguments = by_name(module, args, kwargs)
        calls.append(LayerCall({name: _copy(each) for name, each in arguments.items()}, arguments))
        if altered and len(calls) == 1:
            return _altered(module, args, kwargs)
        return None

    def after_layer(_module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, tuple | list):
            calls[-1].others = [
                each for _, each in leaves("", output[1:]) if isinstance(each, Tensor)
            ]

    def observe(call: AttentionCall) -> None:
        calls[-1].attention = call

    pair = input_ids.expand(2, -1)
    attends = torch.ones_like(pair)
    attends[1, pair.shape[1] // 2 :] = 0
    with ExitStack() as hooks, observing_attention(observe), torch.no_grad():
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(before_layer, with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(after_layer).remove)
        passes.plain(model, pair, attends)
    return calls


def by_name(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """A decoder layer's first argument, the residual, and its others under their names."""
    signature = inspect.signature(module.forward)
    arguments = dict(signature.bind(*args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments |= arguments.pop(name, {})
    resid: Tensor = arguments.pop(next(iter(signature.parameters)))
    return resid, arguments


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value inside nested containers, with the path to it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(f"{name}[{key!r}]", each)
    elif isinstance(value, tuple | list):
        for number, each in enumerate(value):
            yield from leaves(f"{name}[{number}]", each)
    else:
        yield name, value


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_copy(each) for each in value)
    return value


def _altered(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A layer's arguments with a different residual."""
    if args:
        return (args[0].flip(-1), *args[1:]), kwargs
    first = next(iter(inspect.signature(module.forward).parameters))
    return args, kwargs | {first: kwargs[first].flip(-1)}
