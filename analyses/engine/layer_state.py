"""What layers are called with besides the residual, and which of it comes from other layers.

A replay runs single layers, so it has to know all of their arguments. Nothing is recognised by its
name: the model runs twice on a few tokens, the second time with a different residual.
"""

from collections.abc import MutableMapping, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from analyses.engine.layer_calls import LayerCall, layer_calls, leaves
from analyses.engine.shared_keys import SharedKeys
from analyses.engine.suffixes import MASK
from analyses.errors import Refused

PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device, Enum)
MADE = "which layers below have computed"


class UnknownState(Refused):
    def __init__(self, layer: int, name: str, what: str) -> None:
        super().__init__(
            f"Layer {layer} is called with {name}, {what}. Besides the residual only keys and "
            f"values of other layers can be traced from layer to layer, so the effect of a change "
            f"on layers above would be wrong. Use another model."
        )


class OwnMask(Refused):
    def __init__(self, layer: int) -> None:
        super().__init__(
            f"Attention of layer {layer} attends to other keys than the layer's {MASK} allows: it "
            f"selects them by their content, so what it would select under a change is not known. "
            f"Use another model."
        )


def find_shared(
    model: PreTrainedModel, layers: Sequence[nn.Module], input_ids: Tensor
) -> list[SharedKeys | None]:
    """Each layer's mapping of other layers' keys and values, where it gets one.

    Raises `UnknownState` for anything else that one layer passes to another, and `OwnMask`.
    """
    calls = layer_calls(model, layers, input_ids)
    altered = layer_calls(model, layers, input_ids, altered=True)
    by_layer = []
    for number, call in enumerate(calls):
        mappings = [_shared(number, name, calls) for name in call.arguments]
        shared = [each for each in mappings if each is not None]
        if len(shared) > 1:
            raise UnknownState(number, shared[1].argument, "a second mapping that layers add to")
        known = {each.argument for each in shared}
        for name, value in call.arguments.items():
            if name not in known:
                _check_independent(number, name, value, calls, altered[number])
        used = None if call.attention is None else call.attention.mask
        check_mask(number, call.arguments.get(MASK), used)
        by_layer.append(shared[0] if shared else None)
    return by_layer


def _shared(number: int, name: str, calls: Sequence[LayerCall]) -> SharedKeys | None:
    """The argument, if it is a mapping that is empty or holds only keys and values of layers."""
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
        attention = call.attention
        if (
            attention is not None
            and _alike(value[0], attention.key)
            and _alike(value[1], attention.value)
        ):
            return number
    return None


def _check_independent(
    number: int, name: str, value: Any, calls: Sequence[LayerCall], altered: LayerCall
) -> None:
    """Raises `UnknownState` for what depends on the layers below."""
    here, there = dict(leaves(name, value)), dict(leaves(name, altered.arguments.get(name)))
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
    """Raises `OwnMask` where attention itself selected its keys."""
    if isinstance(used, Tensor) and isinstance(given, Tensor):
        if used.shape == given.shape and used.data_ptr() == given.data_ptr():
            return
        agree = used.shape[-2:] == given.shape[-2:] and bool(
            (_allows(used) == _allows(given)).all()
        )
    else:
        agree = used is given
    if not agree:
        raise OwnMask(number)


def _allows(mask: Tensor) -> Tensor:
    return mask if mask.dtype == torch.bool else mask == 0


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
