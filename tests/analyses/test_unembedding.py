"""Logits of the final residual in fp32, for runs as they are and under patches alike."""

import numpy as np
import pytest
import torch
from studied import LONG, of, read_for, result, run
from torch.testing import assert_close

from analyses import effects, metrics
from analyses.engine.interventions import SAME, ZERO, Intervention, Patch, Path, Site
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.methods.bases import BasesParams, bases, derive
from analyses.methods.behaviour import BehaviourParams, behaviour
from analyses.methods.label_randomisation import (
    INTERCHANGE,
    LabelRandomisationParams,
    label_randomisation,
)
from analyses.methods.patching import PatchingParams, patching
from analyses.results import MODEL, Component, Kind

HALF = ["bfloat16", "float16"]


@pytest.fixture
def half(saved, loaded):
    """A small model in half precision."""

    def make(model, dtype: str = "bfloat16", **choices) -> LanguageModel:
        lm = LanguageModel.load(saved(model, **choices), dtype=dtype)
        loaded.append(lm)
        return lm

    return make


def by_hand(lm: LanguageModel, ids: tuple[int, ...]) -> torch.Tensor:
    """A llama's last residual in a plain pass, its norm and unembedding in fp64."""
    kept: list[torch.Tensor] = []
    layer = lm.model.model.layers[-1]
    handle = layer.register_forward_hook(
        lambda _module, _args, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        lm.model(torch.tensor([ids]), use_cache=False)
    handle.remove()
    resid = kept[0].reshape(len(ids), -1)[-1].double()
    norm = lm.model.model.norm
    scale = (resid.square().mean() + norm.variance_epsilon).rsqrt()
    return (resid * scale * norm.weight.double()) @ lm.model.lm_head.weight.double().T


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_does_not_round_logits(half, prompts, dtype: str) -> None:
    lm = half("llama", dtype)
    made = prompts([6])
    recorded = lm.record(lm.batch(made))
    expected = by_hand(lm, made[0].input_ids)
    assert_close(recorded.logits[0].double(), expected, atol=1e-5, rtol=1e-5)
    assert_close(recorded.own_logits, recorded.logits, atol=0.1, rtol=0.02)
    assert not torch.equal(recorded.own_logits, recorded.logits)


def test_labels_that_only_rounding_makes_alike_do_not_tie(half, random_model, prompts) -> None:
    """The right label's row is larger by a thousandth, where bf16 knows eight bits of a logit."""
    model = random_model("llama", tie_word_embeddings=False)
    rows = model.lm_head.weight.data
    rows[5:9] = 20 * rows[5].sign() * rows[5].abs().mean()
    rows[5:9] = rows[5:9].bfloat16().float()
    rows[7, :4] *= 1 + 2**-7  # the next number of bf16
    lm = half(model)
    batch = lm.batch(prompts([6, 7, 8, 9]))
    recorded = lm.record(batch)
    own = recorded.own_logits.gather(1, batch.label_ids)
    labels = recorded.logits.gather(1, batch.label_ids)
    assert ((own == own.amax(-1, keepdim=True)).sum(-1) > 1).any()
    apart = metrics.answer(labels)
    for row, ids in enumerate(p.input_ids for p in prompts([6, 7, 8, 9])):
        truth = by_hand(lm, ids)[[5, 6, 7, 8]]
        assert (apart[row, 2] == 1) == bool(truth[2] > truth[0])


@pytest.mark.parametrize("dtype", HALF)
def test_labels_never_have_more_than_all_probability(half, prompts, dtype: str) -> None:
    """They are part of the whole vocabulary, also where its logits were rounded apart."""
    lm = half("llama", dtype, vocab_size=9)
    made = [
        p.__class__(**{**vars(p), "input_ids": tuple(i % 9 for i in p.input_ids)})
        for p in prompts([5, 7])
    ]
    batch = lm.batch(made)
    recorded = lm.record(batch, keep=Keep.PREFIX)
    whole = torch.arange(9).expand(2, 9)
    found = lm.replay(recorded, [Intervention()], whole, whole_vocabulary=True)
    mass = metrics.label_mass(found.labels[0], found.logsumexp[0])
    assert_close(mass, torch.ones(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral", "gpt2"])
def test_a_patch_that_changes_nothing_moves_nothing_in_bf16(half, prompts, family: str) -> None:
    lm = half(family)
    batch = lm.batch(prompts([9, 5, 7]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    base = recorded.logits.gather(1, batch.label_ids)
    patches = [
        patch
        for layer in range(2)
        for patch in (
            Patch(site=Site.Z, layer=layer, head=1, value=SAME),
            Patch(site=Site.MLP_OUT, layer=layer, value=SAME),
            Patch(site=Site.ATTN_OUT, layer=layer, value=SAME),
        )
    ]
    made = [Intervention((each,), path) for each in patches for path in Path]
    found = lm.replay(recorded, made, batch.label_ids, as_changes=True).labels
    assert_close(found, base.expand_as(found), atol=2e-5, rtol=0)


def test_changes_are_those_of_full_passes_in_fp32(load, prompts) -> None:
    lm = load("gemma2")
    batch = lm.batch(prompts([9, 5, 7]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    made = [
        Intervention((Patch(site=Site.Z, layer=layer, head=1, value=ZERO),), path)
        for layer in range(2)
        for path in Path
    ]
    raw = lm.replay(recorded, made, batch.label_ids).labels
    assert_close(
        lm.replay(recorded, made, batch.label_ids, as_changes=True).labels, raw, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_what_an_unchanged_replay_is_off_by_is_stored(half, family: str) -> None:
    lm = half(family, **LONG)
    params = PatchingParams(source="zero", batch_size=4)
    prompts = read_for(lm, size=4)
    found = run(patching, lm, prompts, params)
    batch = lm.batch(prompts)
    recorded = lm.record(batch, keep=Keep.PREFIX)
    same = Intervention((Patch(site=Site.RESID_PRE, layer=0, value=SAME),))
    labels = lm.replay(recorded, [same], batch.label_ids).labels[0]
    base = metrics.logit_diff(recorded.logits.gather(1, batch.label_ids), batch.correct)
    off = metrics.logit_diff(labels, batch.correct) - base
    np.testing.assert_allclose(found.scores[effects.noop_key()], off, atol=1e-6)
    assert np.abs(off.numpy()).max() > 1e-4  # bf16


def test_labels_that_tie_share_the_answer(load, random_model) -> None:
    """A model that says all tokens alike follows every option by a quarter."""
    model = random_model("gpt2", **LONG)
    model.transformer.ln_f.weight.data.zero_()
    model.transformer.ln_f.bias.data.fill_(1.0)
    model.lm_head.weight.data.fill_(0.125)
    lm = load(model)
    heads = {"heads": ("0.1",), "rotary": "after", "mutations": ("shuffled",), "rank": 1}
    params = LabelRandomisationParams(**heads)
    learn = BasesParams(rotary="after")
    learnt = run(bases, lm, read_for(lm, size=4, split="train"), learn)
    made = read_for(lm, size=8, kinds=params.companions)
    inputs = {"bases": result(learnt, derive(learnt, learn))}
    found = run(label_randomisation, lm, made, params, inputs=inputs)
    head = Component(kind=Kind.HEAD, layer=0, index=1)
    for metric in ("follows_position", "follows_symbol", "stays"):
        for place in ({"component": MODEL}, {"component": head, "site": "z"}):
            shares = of(found, metric=metric, condition=INTERCHANGE.text, **place)
            np.testing.assert_array_equal(shares, 1 / 4)
    accuracy = of(run(behaviour, lm, made, BehaviourParams()), component=MODEL, metric="accuracy")
    np.testing.assert_array_equal(accuracy, 1 / 4)
