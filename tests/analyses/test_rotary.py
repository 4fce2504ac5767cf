"""Queries and keys before rotary embedding: by the opposite turn, and by asking the layer."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from analyses.engine.attention import AttentionCall, observing_attention
from analyses.engine.closure import DoesNotClose
from analyses.engine.interventions import ImpossiblePatch, Patch, Site
from analyses.engine.recording import Keep
from analyses.engine.rotary import NoRotaryEmbedding, find_rotary

WITHOUT = ("deepseek_v3", "gpt2", "opt")  # or not by one function


def at_angle_zero(lm, recorded, number: int) -> AttentionCall:
    """What attention sees when its layer is called on its recorded input with (1, 0) for angles."""
    reads = recorded.reads[number]
    cos, sin = reads.arguments["position_embeddings"]
    flat: dict[str, Any] = {"position_embeddings": (torch.ones_like(cos), torch.zeros_like(sin))}
    shared = lm.anatomy.layers[number].shared
    if shared is not None:  # keys of layers below, at angle zero as well
        below = {name: at_angle_zero(lm, recorded, each) for name, each in shared.layers.items()}
        flat[shared.argument] = {name: (call.key, call.value) for name, call in below.items()}
    observed: list[AttentionCall] = []
    with torch.no_grad(), observing_attention(observed.append):
        lm.anatomy.layers[number].layer(
            reads.everywhere[Site.RESID_PRE], **{**reads.arguments, **flat}
        )
    return observed[0]


def test_vectors_before_rotary_turned_again_are_what_attention_saw_or_refused(
    shared, prompts, family: str
) -> None:
    lm = shared(family)
    recorded = lm.record(lm.batch(prompts([11, 7])), keep=Keep.POSITIONS)
    if family in WITHOUT:
        with pytest.raises(NoRotaryEmbedding, match="Layer 1 has no queries and keys before"):
            find_rotary(lm.anatomy.layers[1], recorded, 1)
        return
    places = torch.arange(11).expand(2, -1)
    turns = 0
    for number, layer in enumerate(lm.anatomy.layers):
        reads = recorded.reads[number]
        rotary = find_rotary(layer, recorded, number)
        flat = at_angle_zero(lm, recorded, number)
        queries = reads.everywhere[Site.Q].transpose(1, 2)
        for before, seen in ((flat.query, queries), (flat.key, reads.key)):
            for head in range(before.shape[1]):
                assert_close(rotary.turn(before[:, head], places), seen[:, head])
                assert_close(rotary.back(seen[:, head], places), before[:, head])
            turns += not torch.allclose(before, seen, atol=0.01)
    assert turns >= 2  # smollm3 leaves a layer without


def test_a_layer_without_rotation_is_left_as_it_is(shared, prompts) -> None:
    lm = shared("smollm3")
    recorded = lm.record(lm.batch(prompts([5])), keep=Keep.PREFIX)
    assert [
        find_rotary(layer, recorded, number).dims for number, layer in enumerate(lm.anatomy.layers)
    ] == [8, 0]


def test_a_rotation_that_is_not_the_models_does_not_close(shared, prompts, monkeypatch) -> None:
    lm = shared("llama")
    recorded = lm.record(lm.batch(prompts([5])), keep=Keep.PREFIX)
    own = "transformers.models.llama.modeling_llama.apply_rotary_pos_emb"
    other = "transformers.models.cohere.modeling_cohere.apply_rotary_pos_emb"
    monkeypatch.setattr(own, pytest.importorskip(other.rpartition(".")[0]).apply_rotary_pos_emb)
    with pytest.raises(DoesNotClose, match="the rotated queries"):
        find_rotary(lm.anatomy.layers[0], recorded, 0)


def test_only_queries_and_keys_have_a_before() -> None:
    with pytest.raises(ImpossiblePatch, match="rotary embedding acts on queries and keys"):
        Patch(site=Site.Z, layer=0, head=0, before_rotary=True)
