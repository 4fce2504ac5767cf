"""Rows of attention against those of transformers' own attention, and against patched passes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from kinds import HEAD, LENGTHS, SOME, low_of
from reference import Pass
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from analyses.checkpoints.quiet import quiet
from analyses.engine import memory
from analyses.engine.interventions import (
    ZERO,
    Apply,
    ImpossiblePatch,
    Intervention,
    Patch,
    Site,
    Subspace,
)
from analyses.engine.patterns import ImpossibleRow
from analyses.engine.recording import Keep
from analyses.engine.rotary import NoRotaryEmbedding
from analyses.language_model import LanguageModel

EXACT: dict[str, Any] = {"atol": 1e-5, "rtol": 0}
WITHOUT_ROTARY = {"deepseek_v3", "gpt2", "opt"}


@pytest.fixture
def ground(shared, prompts):
    """A model, prompts of unequal lengths, and their recording."""

    def make(family: str, lengths=LENGTHS, **choices: object):
        lm, made = shared(family, **choices), prompts(lengths)
        return lm, made, lm.record(lm.batch(made), keep=Keep.PREFIX)

    return make


def own_rows(lm: LanguageModel, made) -> list[list[torch.Tensor]]:
    """For each prompt and layer, what transformers' eager attention gives: [head, key]."""
    with quiet(), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(
            lm.folder, attn_implementation="eager", dtype=lm.model.dtype
        )
        outputs = [
            model(torch.tensor([prompt.input_ids]), use_cache=False, output_attentions=True)
            for prompt in made
        ]
    return [[layer[0, :, -1].float() for layer in output.attentions] for output in outputs]


def reading(lm: LanguageModel, layer: int, **choices: Any) -> list[Intervention]:
    """Queries and keys confined to a subspace: alone, at some keys only, both, and zeroed."""
    low = low_of(lm, Site.Q, layer)
    q, k = (
        Patch(site=site, layer=layer, head=HEAD, value=low, **choices) for site in (Site.Q, Site.K)
    )
    of_another = replace(q, head=3)
    return [
        Intervention(patches)
        for patches in (
            (q,),
            (k,),
            (replace(k, at=SOME),),
            (q, k),
            (q, of_another),
            (replace(k, value=ZERO, before_rotary=False),),
        )
    ]


def test_rows_are_those_of_transformers_own_attention(ground, family: str) -> None:
    lm, made, recorded = ground(family)
    own = own_rows(lm, made)
    for layer in range(lm.shape.n_layers):
        (found,) = lm.attention_rows(recorded, layer)
        assert found.shape == (3, lm.shape.n_heads, max(LENGTHS))
        assert found.dtype == torch.float32
        for row, length in enumerate(LENGTHS):
            assert_close(found[row, :, :length], own[row][layer], **EXACT)
            assert not found[row, :, length:].any()


def test_a_sink_takes_its_share_and_a_window_shuts_out_the_rest(ground) -> None:
    lm, _, recorded = ground("gpt_oss")
    (with_sinks,) = lm.attention_rows(recorded, 0)
    assert (with_sinks.sum(-1) < 0.999).all()
    lm, _, recorded = ground("mistral")
    (windowed,) = lm.attention_rows(recorded, 1)
    assert_close(windowed.sum(-1), torch.ones(3, 4), **EXACT)
    for row, length in enumerate(LENGTHS):
        assert not windowed[row, :, : length - 4].any()
        assert (windowed[row, :, length - 4 : length] > 0).all()


@pytest.mark.parametrize("before_rotary", [False, True])
def test_rows_under_patched_reads_give_the_z_of_a_patched_pass(
    ground, family: str, before_rotary: bool
) -> None:
    lm, made, recorded = ground(family)
    if before_rotary and family in WITHOUT_ROTARY:
        with pytest.raises(NoRotaryEmbedding, match="Use those after it"):
            lm.attention_rows(recorded, 0, reading(lm, 0, before_rotary=True))
        return
    for layer in range(lm.shape.n_layers):
        interventions = reading(lm, layer, before_rotary=before_rotary)
        found = lm.attention_rows(recorded, layer, interventions)
        (plain,) = lm.attention_rows(recorded, layer)
        for intervention, rows in zip(interventions, found, strict=True):
            patched = {patch.head for patch in intervention.patches}
            others = [head for head in range(lm.shape.n_heads) if head not in patched]
            assert_close(rows[:, others], plain[:, others], atol=1e-6, rtol=0)
            assert (rows - plain)[:, list(patched)].abs().amax() > 1e-3
            for row, prompt in enumerate(made):
                slow = Pass(lm, prompt.input_ids, row, intervention.patches)
                values = slow.seen[Site.V, layer]
                values = values.repeat_interleave(lm.shape.n_heads // values.shape[1], dim=1)
                weights = rows[row, :, : len(prompt.input_ids)]
                z = torch.einsum("hk,khd->hd", weights, values)
                assert_close(z, slow.seen[Site.Z, layer][-1], **EXACT)


def test_without_an_intervention_and_under_an_empty_one_the_row_is_the_models_own(ground) -> None:
    lm, _, recorded = ground("llama")
    (plain,) = lm.attention_rows(recorded, 1)
    low = Intervention((Patch(site=Site.Q, layer=1, head=HEAD, value=ZERO),))
    found = lm.attention_rows(recorded, 1, [Intervention(), low, Intervention()])
    assert torch.equal(found[0], found[2])
    assert_close(found[0], plain, atol=1e-6, rtol=0)
    assert lm.attention_rows(recorded, 1, []).shape == (0, 3, 4, 11)


def test_full_rank_is_the_identity_and_no_query_is_an_even_look(ground) -> None:
    lm, _, recorded = ground("llama")
    mean = torch.linspace(-1, 1, lm.shape.d_head)
    whole = Apply(Subspace(mean, torch.eye(lm.shape.d_head)))
    q, k, none = (
        Intervention((Patch(site=site, layer=0, head=2, value=value),))
        for site, value in ((Site.Q, whole), (Site.K, whole), (Site.Q, ZERO))
    )
    (plain,) = lm.attention_rows(recorded, 0)
    found = lm.attention_rows(recorded, 0, [q, k, none])
    assert_close(found[:2], plain.expand(2, -1, -1, -1), **EXACT)
    for row, length in enumerate(LENGTHS):
        assert_close(found[2, row, 2, :length], torch.full((length,), 1 / length), **EXACT)


def test_what_is_read_may_come_from_a_source(ground, prompts) -> None:
    lm, made, recorded = ground("qwen2")
    others = prompts([*LENGTHS, 12, 9, 9])[len(LENGTHS) :]
    source = lm.record(lm.batch(others), keep=Keep.PREFIX)
    patch = Patch(site=Site.Q, layer=1, head=HEAD)
    (found,) = lm.attention_rows(recorded, 1, [Intervention((patch,))], source=source)
    for row, prompt in enumerate(made):
        slow = Pass(lm, prompt.input_ids, row, [patch], source=Pass(lm, others[row].input_ids, row))
        values = slow.seen[Site.V, 1][:, 0]
        z = found[row, HEAD, : len(prompt.input_ids)] @ values
        assert_close(z, slow.seen[Site.Z, 1][-1, HEAD], **EXACT)


def test_many_interventions_are_read_in_chunks_that_change_nothing(ground) -> None:
    lm, _, recorded = ground("gemma2")
    interventions = reading(lm, 1, before_rotary=True) * 20
    tight = replace(lm, memory_budget=1)
    assert memory.branches_at_once(lm.anatomy, recorded, suffix=1, left=1) == 1
    assert_close(
        tight.attention_rows(recorded, 1, interventions),
        lm.attention_rows(recorded, 1, interventions),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_oss", "llama"])
def test_bf16_rows_are_those_of_the_model_to_its_rounding(saved, loaded, prompts, family) -> None:
    lm = LanguageModel.load(saved(family), dtype="bfloat16")
    loaded.append(lm)
    made = prompts(LENGTHS)
    recorded = lm.record(lm.batch(made), keep=Keep.PREFIX)
    own = own_rows(lm, made)
    for layer in range(lm.shape.n_layers):
        (found,) = lm.attention_rows(recorded, layer)
        assert found.dtype == torch.float32
        for row, length in enumerate(LENGTHS):
            assert_close(found[row, :, :length], own[row][layer], atol=5e-3, rtol=0)


def test_what_cannot_be_had_is_refused_with_the_way_out(ground) -> None:
    lm, made, recorded = ground("llama")
    for patch in (
        Patch(site=Site.V, layer=1, head=0, value=ZERO),
        Patch(site=Site.Q, layer=0, head=0, value=ZERO),
        Patch(site=Site.Q, layer=1, head=0, value=ZERO, at=SOME),
        Patch(site=Site.RESID_PRE, layer=1, value=ZERO),
    ):
        with pytest.raises(
            ImpossibleRow, match=f"of layer 1 is not available.*{patch.name}.*Patch q at"
        ):
            lm.attention_rows(recorded, 1, [Intervention((patch,))])
    with pytest.raises(ImpossiblePatch, match="Choose one of them"):
        lm.attention_rows(
            recorded, 1, [Intervention((Patch(site=Site.Q, layer=1, head=9, value=ZERO),))]
        )
    with pytest.raises(ImpossibleRow, match=r"layer 7.*has 2 layers"):
        lm.attention_rows(recorded, 7)
    without = lm.record(lm.batch(made))
    for ask in (lm.attention_rows, lm.value_norms):
        with pytest.raises(ImpossibleRow, match=r"Record with keep=Keep\.PREFIX"):
            ask(without, 0)


def test_sizes_of_values_on_paper(random_model, load, prompts) -> None:
    """Values are their biases alone, (3, 4, 0 …) and (5, 12, 0 …); head h writes h + 1 times them.

    Heads 0 and 1 share the first, 2 and 3 the second.
    """
    model = random_model("qwen2")
    for layer in model.model.layers:
        layer.self_attn.v_proj.weight.data.zero_()
        layer.self_attn.v_proj.bias.data = torch.tensor([3.0, 4, *[0] * 6, 5, 12, *[0] * 6])
        W_O = torch.cat([(head + 1) * torch.eye(8, 32) for head in range(4)])
        layer.self_attn.o_proj.weight.data = W_O.T.contiguous()
    lm, made = load(model), prompts([5, 3])
    recorded = lm.record(lm.batch(made), keep=Keep.PREFIX)
    for layer in range(2):
        found = lm.value_norms(recorded, layer)
        assert found.shape == (2, 4, 5)
        expected = torch.tensor([5.0, 10, 39, 52])[:, None]
        assert_close(found[0], expected.expand(4, 5))
        assert_close(found[1, :, :3], expected.expand(4, 3))
        assert not found[1, :, 3:].any()


@pytest.mark.parametrize("family", ["gpt2", "granite", "olmo2"])
def test_sizes_are_those_of_writes_before_a_post_norm_and_with_a_residual_multiplier(
    ground, family: str
) -> None:
    """A prompt of one token looks at itself alone, so its heads write just that."""
    lm, _, recorded = ground(family, lengths=[1, 4])
    for layer, anatomy in enumerate(lm.anatomy.layers):
        found = lm.value_norms(recorded, layer)[0, :, 0]
        z = recorded.layers[layer].z[0]
        W_O = anatomy.W_O.view(lm.shape.n_heads, -1, lm.shape.d_model)
        writes = torch.einsum("hd,hdm->hm", z, W_O)
        multiplier = 0.6 if family == "granite" else 1.0
        assert_close(found, multiplier * writes.norm(dim=-1), **EXACT)
        bias = 0 if anatomy.b_O is None else anatomy.b_O
        if family == "olmo2":
            assert_close(recorded.layers[layer].projected[0], writes.sum(0), **EXACT)
        else:
            whole = multiplier * (writes.sum(0) + bias)
            assert_close(recorded.layers[layer].attn_out[0], whole, **EXACT)
