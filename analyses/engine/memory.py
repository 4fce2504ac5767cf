"""How much memory a replay may take, and how many riders fit into it."""

from collections.abc import Iterable, Mapping
from typing import Any

import psutil
import torch
from torch import Tensor

from analyses.engine.anatomy import Anatomy
from analyses.engine.recording import Recorded

SHARE = 0.5  # of the memory that is free, when no budget is given
# Larger chunks would not be faster. Where they fit, numbers do not depend on the free memory.
MOST_TOKENS = {"cpu": 4096, "cuda": 65536}


def budget_of(device: torch.device, asked: int | None) -> int:
    """The bytes asked for, or a share of what is free on the device."""
    if asked is not None:
        return asked
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    return int(SHARE * psutil.virtual_memory().available)


def held(*recordings: Recorded | None) -> int:
    """The bytes of what recordings keep; what they share is counted once."""
    storages = {}
    for recorded in recordings:
        if recorded is not None:
            for tensor in _tensors((recorded.layers, recorded.reads, recorded.logits)):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def riders(anatomy: Anatomy, recorded: Recorded, *, suffix: int, left: int) -> int:
    """How many riders with so many tokens of their own fit into the bytes left; at least one.

    An estimate on the safe side: while a layer runs, a token is counted with its scores three times
    (as they are, as a pattern in fp32, and as that pattern in the model's dtype), with what the
    MLP's widest map gives six times, and with sixteen residuals.
    """
    layer, key = anatomy.layers[0], recorded.reads[0].key
    batch, _, prefix, _ = key.shape
    widest = max(max(weight.shape[-2:]) for weight in layer.layer.parameters() if weight.dim() > 1)
    scores = anatomy.n_heads * (prefix + suffix) * (2 * key.element_size() + 4)
    of_mlp = 6 * widest * key.element_size()
    resid = 16 * len(layer.W_O.T) * key.element_size()
    tokens = left // (scores + of_mlp + resid)
    most = MOST_TOKENS.get(key.device.type, MOST_TOKENS["cuda"])
    return max(1, min(tokens, most) // (batch * suffix))


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple):
        for each in value:
            yield from _tensors(each)
    elif hasattr(value, "__dataclass_fields__"):
        yield from _tensors(vars(value))
