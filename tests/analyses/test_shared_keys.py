"""Layers that read keys and values of others: changes below reach them, and nothing else does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from analyses.engine.closure import DoesNotClose
from analyses.engine.interventions import SOURCE, ZERO, Intervention, Patch, Path, Site
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel

IDS = [3, 1, 4, 15, 9, 2, 6]
LAST = len(IDS) - 1
FOUR = {"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}


@pytest.fixture
def lm(load) -> LanguageModel:
    """A Gemma 4 of four layers: the third reads the first one's keys, the last the second's."""
    found = load("gemma4_text", num_kv_shared_layers=2, global_head_dim=16, **FOUR)
    assert [sorted(layer.shared.layers.values()) for layer in found.anatomy.layers] == [
        [],
        [0],
        [0, 1],
        [0, 1],
    ]
    return found


def zero(layer: int, head: int, position: int = LAST) -> Patch:
    at = None if position == LAST else ((position,),)
    return Patch(site=Site.Z, layer=layer, head=head, value=ZERO, at=at)


@contextmanager
def without(lm: LanguageModel, patches: Sequence[Patch]) -> Iterator[None]:
    """Hooks of PyTorch on the model's own modules, and nothing of the engine."""

    def hook(patch: Patch) -> Callable[..., Any]:
        def zeroed(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            z = args[0].clone()
            d = z.shape[-1] // 4
            position = patch.at[0][0] if patch.at else LAST
            z[:, position, patch.head * d : (patch.head + 1) * d] = 0
            return (z,)

        return zeroed

    with ExitStack() as hooks:
        for patch in patches:
            o_proj = lm.model.model.layers[patch.layer].self_attn.o_proj
            hooks.callback(o_proj.register_forward_pre_hook(hook(patch)).remove)
        yield


@torch.no_grad()
def plain(lm: LanguageModel, patches: Sequence[Patch]) -> Tensor:
    with without(lm, patches):
        return lm.model(torch.tensor([IDS]), use_cache=False).logits[0, -1].float()


def test_effects_above_and_below_are_those_of_plain_passes_in_any_order(lm, prompts) -> None:
    sets = [
        (),
        (zero(0, 2),),
        (zero(2, 1),),
        (zero(0, 2), zero(2, 1)),
        (zero(0, 0, position=2),),
        (zero(1, 3), zero(3, 0)),
        (zero(3, 1),),
    ]
    right = torch.stack([plain(lm, patches) for patches in sets])
    assert (right[1:] - right[0]).abs().amax(1).min() > 1e-3
    batch = lm.batch(proof_prompt(prompts))
    recorded = lm.record(batch, keep=Keep.POSITIONS)

    def replayed(numbers: Sequence[int]) -> Tensor:
        asked = [Intervention(sets[number]) for number in numbers]
        return lm.replay(recorded, asked, batch.label_ids).labels[:, 0]

    for numbers in (range(7), reversed(range(7)), [2, 1], [6, 2], [4], [1]):
        some = list(numbers)
        assert_close(replayed(some), right[some][:, batch.label_ids[0]], atol=1e-5, rtol=0)


def proof_prompt(prompts) -> list[Any]:
    (made,) = prompts([len(IDS)])
    return [
        type(made)(number=0, item="", input_ids=tuple(IDS), label_ids=made.label_ids, correct=(0,))
    ]


def test_a_patch_that_changes_nothing_moves_nothing_at_any_layer(lm, prompts) -> None:
    batch = lm.batch(proof_prompt(prompts))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    nothing = [
        Intervention((Patch(site=Site.RESID_PRE, layer=layer, value=SOURCE),))
        for layer in (2, 0, 3, 1, 2)
    ]
    after = lm.replay(recorded, nothing, batch.label_ids, source=recorded).labels[:, 0]
    assert_close(after, plain(lm, ())[batch.label_ids].expand_as(after), atol=1e-5, rtol=0)


def test_the_direct_path_and_the_path_through_all_layers_ride_together(lm, prompts) -> None:
    batch = lm.batch(proof_prompt(prompts))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    both = [Intervention((zero(2, 1),), path) for path in (Path.DIRECT, Path.TOTAL)]
    found = lm.replay(recorded, [*both, *reversed(both)], batch.label_ids).labels[:, 0]
    assert_close(found[:2], found[2:].flip(0), atol=1e-6, rtol=0)
    assert_close(found[1], plain(lm, (zero(2, 1),))[batch.label_ids[0]], atol=1e-5, rtol=0)


def test_rows_of_attention_are_the_models_own(lm, prompts) -> None:
    batch = lm.batch(proof_prompt(prompts))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    ours = [lm.attention_rows(recorded, layer)[0, 0] for layer in range(4)]
    own: list[Tensor] = []
    lm.model.set_attn_implementation("eager")
    try:
        with ExitStack() as hooks, torch.no_grad():
            for layer in lm.model.model.layers:
                hook = layer.self_attn.register_forward_hook(lambda _m, _a, out: own.append(out[1]))
                hooks.callback(hook.remove)
            lm.model(torch.tensor([IDS]), use_cache=False)
    finally:
        lm.model.set_attn_implementation("headbook")
    for one, other in zip(ours, own, strict=True):
        assert_close(one, other[0, :, -1], atol=1e-5, rtol=0)


def adds_values_of_the_layer_below(lm: LanguageModel) -> Iterator[Any]:
    """A value residual by an attribute of a module: all who come through both layers are right."""
    lower, upper = (layer.self_attn for layer in lm.model.model.layers)

    def keep(module: Any, _args: Any, output: Tensor) -> None:
        module.kept = output

    yield lower.v_proj.register_forward_hook(keep)

    def add(_module: Any, _args: Any, output: Tensor) -> Tensor:
        kept = lower.v_proj.kept
        return output + kept if kept.shape == output.shape else output

    yield upper.v_proj.register_forward_hook(add)


def counts_its_calls(lm: LanguageModel) -> Iterator[Any]:
    """Its queries are others every time that the last layer runs."""
    q_proj = lm.model.model.layers[1].self_attn.q_proj
    q_proj.calls = 0

    def count(module: Any, _args: Any, output: Tensor) -> Tensor:
        module.calls += 1
        return output * (1 + 0.1 * (module.calls > 6))

    yield q_proj.register_forward_hook(count)


@pytest.mark.parametrize("state", [adds_values_of_the_layer_below, counts_its_calls])
def test_state_that_no_argument_shows_is_found_by_riding(load, state) -> None:
    lm = load("llama")
    handles = list(state(lm))
    try:
        with pytest.raises(DoesNotClose, match=r"the proof at loading.*replayed"):
            lm.prove(IDS)
    finally:
        for handle in handles:
            handle.remove()
