"""What layers are called with beside the residual, and what of it other layers have made.

A replay runs layers by themselves, so it must know all that they are given. Nothing is known by
name: the model runs twice on a few tokens, the second time with another residual.
"""

import inspect
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine import passes
from analyses.engine.attention import AttentionCall, listening
from analyses.engine.shared_keys import SharedKeys
from analyses.engine.suffixes import MASK
from analyses.errors import Refused

PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device, Enum)
MADE = "which layers below have made"


class UnknownState(Refused):
    def __init__(self, layer: int, name: str, what: str) -> None:
        super().__init__(
            f"Layer {layer} is called with {name}, {what}. Beside the residual only keys and "
            f"values of other layers can be followed from layer to layer, so what a change does "
            f"above the layer where it is made would be wrong. Use another model."
        )


class OwnMask(Refused):
    def __init__(self, layer: int) -> None:
        super().__init__(
            f"Attention of layer {layer} sees other keys than the layer's {MASK} says: it chooses "
            f"them by what it reads, so what it would see under a change is not known. Use another "
            f"model."
        )


@dataclass
class LayerCall:
    """One layer's turn: its arguments by their names, copied when it began, and what it gave."""

    arguments: Mapping[str, Any]
    live: Mapping[str, Any]  # the arguments themselves, which layers may change
    attention: AttentionCall | None = None
    others: list[Tensor] = field(default_factory=list)  # what it gave beside the residual


def find_shared(
    model: PreTrainedModel, layers: Sequence[nn.Module], input_ids: Tensor
) -> list[SharedKeys | None]:
    """Each layer's mapping of other layers' keys and values, where it is given one.

    Raises `UnknownState` for anything else that one layer hands to another, and `OwnMask`.
    """
    calls = layer_calls(model, layers, input_ids)
    turned = layer_calls(model, layers, input_ids, turned=True)
    found = []
    for number, call in enumerate(calls):
        mappings = [_shared(number, name, calls) for name in call.arguments]
        shared = [each for each in mappings if each is not None]
        if len(shared) > 1:
            raise UnknownState(number, shared[1].argument, "a second mapping that layers add to")
        known = {each.argument for each in shared}
        for name, value in call.arguments.items():
            if name not in known:
                _check_made_before(number, name, value, calls, turned[number])
        used = None if call.attention is None else call.attention.mask
        check_mask(number, call.arguments.get(MASK), used)
        found.append(shared[0] if shared else None)
    return found


def layer_calls(
    model: PreTrainedModel, layers: Sequence[nn.Module], input_ids: Tensor, *, turned: bool = False
) -> list[LayerCall]:
    """All layers' turns on two rows, one of them padded; with `turned`, of another residual."""
    calls: list[LayerCall] = []

    def begins(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        _, arguments = by_name(module, args, kwargs)
        calls.append(LayerCall({name: _copy(each) for name, each in arguments.items()}, arguments))
        if turned and len(calls) == 1:
            return _turned(module, args, kwargs)
        return None

    def ended(_module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, tuple | list):
            calls[-1].others = [each for _, each in leaves("", output[1:]) if _is_tensor(each)]

    def heard(call: AttentionCall) -> None:
        calls[-1].attention = call

    pair = input_ids.expand(2, -1)
    attends = torch.ones_like(pair)
    attends[1, pair.shape[1] // 2 :] = 0
    with ExitStack() as hooks, listening(heard), torch.no_grad():
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(begins, with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(ended).remove)
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
    """All that lies in a value, with where it lies."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(f"{name}[{key!r}]", each)
    elif isinstance(value, tuple | list):
        for number, each in enumerate(value):
            yield from leaves(f"{name}[{number}]", each)
    else:
        yield name, value


def _shared(number: int, name: str, calls: Sequence[LayerCall]) -> SharedKeys | None:
    """The argument, if it is a mapping that is empty, or holds layers' keys and values alone."""
    live, copied = calls[number].live[name], calls[number].arguments[name]
    if not isinstance(live, MutableMapping):
        return None
    owners = {key: _owner(value, calls[:number]) for key, value in copied.items()}
    if any(owner is None for owner in owners.values()):
        return None
    return SharedKeys(
        argument=name,
        empty=type(live),
        layers={key: owner for key, owner in owners.items() if owner is not None},
    )


def _owner(value: Any, below: Sequence[LayerCall]) -> int | None:
    """The layer whose keys and values these are."""
    if not (isinstance(value, tuple) and len(value) == 2 and all(map(_is_tensor, value))):
        return None
    for number, call in enumerate(below):
        heard = call.attention
        if heard is not None and _alike(value[0], heard.key) and _alike(value[1], heard.value):
            return number
    return None


def _check_made_before(
    number: int, name: str, value: Any, calls: Sequence[LayerCall], turned: LayerCall
) -> None:
    """Raises `UnknownState` for what is not the same whatever the layers below have done."""
    here, there = dict(leaves(name, value)), dict(leaves(name, turned.arguments.get(name)))
    after = dict(leaves(name, calls[number].live[name]))
    if here.keys() != there.keys() or here.keys() != after.keys():
        raise UnknownState(number, name, MADE)
    given = [other for call in calls[:number] for other in call.others]
    for place, each in here.items():
        if not isinstance(each, Tensor):
            if not isinstance(each, PLAIN):
                raise UnknownState(number, place, f"a {type(each).__name__}, which may change")
            continue
        changed = not (_alike(each, there[place]) and _alike(each, after[place]))
        if changed or any(after[place] is other for other in given):
            raise UnknownState(number, place, MADE)


def check_mask(number: int, given: Tensor | None, used: Tensor | None) -> None:
    """Raises `OwnMask` where attention itself chose which keys it sees."""
    if isinstance(used, Tensor) and isinstance(given, Tensor):
        if used.shape == given.shape and used.data_ptr() == given.data_ptr():
            return
        agree = used.shape[-2:] == given.shape[-2:] and bool(
            (_lets_see(used) == _lets_see(given)).all()
        )
    else:
        agree = used is given
    if not agree:
        raise OwnMask(number)


def _lets_see(mask: Tensor) -> Tensor:
    return mask if mask.dtype == torch.bool else mask == 0


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_copy(each) for each in value)
    return value


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _alike(one: Tensor, other: Any) -> bool:
    if not isinstance(other, Tensor) or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return (
        torch.allclose(one, other, equal_nan=True)
        if one.is_floating_point()
        else bool((one == other).all())
    )


def _turned(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A layer's arguments with another residual."""
    if args:
        return (args[0].flip(-1), *args[1:]), kwargs
    first = next(iter(inspect.signature(module.forward).parameters))
    return args, kwargs | {first: kwargs[first].flip(-1)}
