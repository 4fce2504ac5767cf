"""The memory budget of recordings and replays, and how much work fits into it."""

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any

import psutil
import torch
from torch import Tensor

from analyses.checkpoints.sizes import of_a_token
from analyses.engine.anatomy import Anatomy, LayerAnatomy
from analyses.engine.recording import Keep, Recorded

SHARE = 0.5  # of the free memory is the budget where none is given
ROOM = 0.7  # of a budget is planned for; fragmentation takes the rest
# Larger batches are not faster. Where these fit, numbers do not depend on the free memory.
MOST_TOKENS = {"cpu": 4096, "cuda": 65536}


def free_share(device: torch.device) -> int:
    """The default budget in bytes: a share of what is free on the device."""
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    return int(SHARE * psutil.virtual_memory().available)


def machine_holds(n_bytes: int) -> bool:
    """Whether the machine has so much memory in all, swap and GPUs included.

    GPUs are counted last, because that initialises CUDA in this process.
    """
    of_machine = psutil.virtual_memory().total + psutil.swap_memory().total
    if n_bytes <= of_machine:
        return True
    gpus = range(torch.cuda.device_count())
    of_gpus = sum(torch.cuda.get_device_properties(each).total_memory for each in gpus)
    return bool(n_bytes <= of_machine + of_gpus)


def give_back(device: torch.device) -> None:
    """Return freed memory to the system: glibc holds on to it, and budgets would not see it.

    Other C libraries have no such function and need none.
    """
    if device.type == "cpu":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def recordable(anatomy: Anatomy, keep: Keep, *, longest: int, budget: int) -> int:
    """How many tokens of prompts no longer than this can be recorded together; at least one.

    A recording may hold a quarter of the budget (a source is as large), and its forward pass may
    take half. A conservative estimate: attention is assumed to write its scores out.
    """
    size = anatomy.layers[0].out_proj.weight.element_size()
    most_heads = max(layer.shape.n_heads for layer in anatomy.layers)
    of_a_pass = _of_a_layer(anatomy, size) + most_heads * longest * (2 * size + 4)
    room = int(ROOM * budget)
    tokens = room // (2 * of_a_pass)
    if per_token := sum(_kept(layer, keep) for layer in anatomy.layers):
        tokens = min(tokens, room // (4 * per_token * size))
    return max(1, tokens)


def _kept(layer: LayerAnatomy, keep: Keep) -> int:
    """How many numbers a recording holds of a layer for every token."""
    shape = layer.shape
    of_a_head = shape.d_qk + shape.d_v
    reads = shape.n_kv_heads * of_a_head
    everywhere = reads + shape.n_heads * of_a_head + 4 * len(layer.W_O.T)
    return {Keep.WRITES: 0, Keep.PREFIX: reads, Keep.POSITIONS: everywhere}[keep]


def held(*recordings: Recorded | None) -> int:
    """The bytes that recordings hold; shared tensors are counted once."""
    storages = {}
    for recorded in recordings:
        if recorded is not None:
            logits = recorded.logits, recorded.own_logits
            for tensor in _tensors((recorded.layers, recorded.reads, *logits)):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def branches_at_once(anatomy: Anatomy, recorded: Recorded, *, suffix: int, left: int) -> int:
    """How many branches with `suffix` tokens of their own fit into `left` bytes; at least one.

    A conservative estimate: while a layer runs, each token's scores are counted three times (as
    they are, as a pattern in fp32, and as that pattern in the model's dtype).
    """
    key = recorded.reads[0].key
    batch, _, prefix, _ = key.shape
    size = key.element_size()
    most_heads = max(layer.shape.n_heads for layer in anatomy.layers)
    scores = most_heads * (prefix + suffix) * (2 * size + 4)
    tokens = int(ROOM * left) // (scores + _of_a_layer(anatomy, size))
    most = MOST_TOKENS.get(key.device.type, MOST_TOKENS["cuda"])
    return max(1, min(tokens, most) // (batch * suffix))


def _of_a_layer(anatomy: Anatomy, size: int) -> int:
    """Bytes per token while a layer runs."""
    widest = max(
        max(weight.shape[-2:])
        for layer in anatomy.layers
        for weight in layer.layer.parameters()
        if weight.dim() > 1
    )
    return of_a_token(widest=widest, d_model=len(anatomy.layers[0].W_O.T), item=size)


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
