"""What one layer hands to another beside the residual is followed, or refused by its name."""

import re
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from analyses.engine.attention import UnknownAttention
from analyses.engine.layer_state import OwnMask, UnknownState, find_shared
from analyses.engine.recording import Keep


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)

    def forward(self, resid: Tensor, memory: Any = None, **others: Any) -> Any:
        written = self.map(resid)
        if isinstance(memory, list):
            memory.append(written)
        elif isinstance(memory, dict | UserDict):
            memory["written"] = written
        elif isinstance(memory, Tensor):
            memory += 1
        return (resid + written, written)


class Handing(nn.Module):
    """Two layers; `give` makes their arguments of the tokens and of what the one before gave."""

    def __init__(self, give: Callable[[Tensor, Any], dict[str, Any]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(9, 4)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.give = give
        self.config = PretrainedConfig()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool) -> CausalLMOutput:
        resid, written = self.embed(input_ids), None
        for layer in self.layers:
            resid, written = layer(resid, **self.give(input_ids, written))
        return CausalLMOutput(logits=resid)


class Counter:
    seen = 0


def once(value: Any) -> Callable[[Tensor, Any], dict[str, Any]]:
    """The same object for all layers."""
    return lambda _ids, _written: {"memory": value}


STATE: dict[str, tuple[Callable[[Tensor, Any], dict[str, Any]], str]] = {
    "a mapping of other tensors": (once({}), "memory['written'], which layers below have computed"),
    "a mapping that is no dict": (
        once(UserDict()),
        "memory['written'], which layers below have computed",
    ),
    "a list that grows": (once([]), "memory, which layers below have computed"),
    "a tensor that is changed in its place": (
        once(torch.zeros(1, 7, 4)),
        "memory, which layers below have computed",
    ),
    "an object": (once(Counter()), "memory, a Counter, which may change"),
    "what the layer below gave beside the residual": (
        lambda _ids, written: {"above": written},
        "above, which layers below have computed",
    ),
    "something made of it": (
        lambda _ids, written: {"above": None if written is None else {"one": [written * 2]}},
        "above['one'][0], which layers below have computed",
    ),
    "a choice by what the layer below gave": (
        lambda ids, written: {"above": ids if written is None else written.argsort(-1)},
        "above, which layers below have computed",
    ),
}


@pytest.mark.parametrize(("give", "told"), STATE.values(), ids=list(STATE))
def test_state_that_cannot_be_followed_is_refused_by_name(
    give: Callable[[Tensor, Any], dict[str, Any]], told: str
) -> None:
    model: Any = Handing(give)
    with pytest.raises(UnknownState, match=rf"Layer \d is called with {re.escape(told)}"):
        find_shared(model, list(model.layers), torch.arange(7)[None])


def test_what_no_layer_makes_is_no_state() -> None:
    def give(ids: Tensor, _written: Tensor | None) -> dict[str, Any]:
        angles = torch.arange(7.0)[None, :, None]
        return {
            "angles": (angles.cos(), angles.sin()),
            "ids": ids,
            "by": {"kind": [angles]},
            "n": 1,
        }

    model: Any = Handing(give)
    assert find_shared(model, list(model.layers), torch.arange(7)[None]) == [None, None]


def sees_the_last_eight(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Attention with a window of its own, which prompts of up to eight tokens do not show."""
    length = kwargs["hidden_states"].shape[1]
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    return args, kwargs | {"attention_mask": (seen & ~seen.tril(-8))[None, None]}


def test_attention_that_chooses_its_own_keys_is_refused_where_it_matters(load, prompts) -> None:
    lm = load("llama")
    attention = lm.model.model.layers[1].self_attn
    handle = attention.register_forward_pre_hook(sees_the_last_eight, with_kwargs=True)
    try:
        short, long = (lm.batch(prompts([length, 5])) for length in (8, 9))
        assert lm.record(short, keep=Keep.WRITES).layers
        with pytest.raises(OwnMask, match="Attention of layer 1 attends to other keys"):
            lm.record(long, keep=Keep.PREFIX)
    finally:
        handle.remove()


def test_attention_that_is_told_more_than_the_interface_says_is_refused(random_model, load) -> None:
    """It chooses among blocks of keys, which it leaves to the attention function."""
    model = random_model(
        "minimax_m3_vl_text",
        layer_types=["full_attention", "minimax_m3_sparse"],
        **{"index_n_heads": 1, "index_head_dim": 8},
    )
    with pytest.raises(UnknownAttention, match="'block_indices'"):
        load(model)
