"""Patched outputs against one full forward pass each, and what is made of them."""

import numpy as np
import pytest
import torch
from reference import logits_under
from studied import FAMILIES, model_of, read_for, result, which_are_correct

from analyses import bootstrap, metrics
from analyses.engine.interventions import (
    ZERO,
    FromSource,
    Intervention,
    Patch,
    Path,
    Site,
    constant,
)
from analyses.errors import Refused
from analyses.heads import NothingLearnt
from analyses.methods import bases
from analyses.methods.patching import PatchingParams, moved, patching
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import examples
from analyses.prompts.key_sites import KeySite
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import SourceKind
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, Result, ScoreKey
from analyses.stored import LABEL_METRICS


@pytest.fixture
def ground(shared):
    """A small random model, and prompts of colours beside their sources."""

    def make(family: str, kind: SourceKind = SourceKind.RESAMPLE, size: int = 4):
        lm = model_of(shared, family)
        tokenizer = lm.tokenizer
        built = distributions.build(DistributionSpec.parse("colours", size=size))
        sources = {pair.base.number: pair.source for pair in pairs(built, kind)}
        return lm, examples(tokenizer, built.prompts, {kind: sources})

    return make


def of_source(example):
    (source,) = example.companions.values()
    return source


def measured(lm, made, **choices):
    (kind,) = made[0].companions
    params = PatchingParams(**{"source": kind.value, **choices})
    return patching(lm, made, params, lambda done: None)


def by_hand(lm, made, direction, *patched) -> list[tuple[dict[str, np.ndarray], ...]]:
    """For each set of patches the metrics without, with, and by the direct path: plain hooks."""
    own, other = made, [of_source(each) for each in made]
    base, source = (own, other) if direction == "noise" else (other, own)
    paths = [
        (Path.TOTAL,) if any(patch.moves for patch in patches) else tuple(Path)
        for patches in patched
    ]
    every = [Intervention()]
    for patches, along in zip(patched, paths, strict=True):
        every += [Intervention(patches, path) for path in along]
    label_ids = torch.tensor([each.label_ids for each in made])
    correct = which_are_correct(made)
    before, *found = (
        {
            name: values.numpy()
            for name, values in metrics.of_logits(
                logits.gather(1, label_ids), correct, logits.logsumexp(-1)
            ).items()
        }
        for logits in logits_under(lm, every, base, source)
    )
    left = iter(found)
    return [(before, *(next(left) for _ in along)) for along in paths]


def assert_effects(found, component, site, values) -> None:
    before, total, *direct = values
    for metric in before:
        expected = {"total_effect": total[metric] - before[metric]}
        if direct:
            expected["direct_effect"] = direct[0][metric] - before[metric]
            expected["indirect_effect"] = total[metric] - direct[0][metric]
        for effect in ("total_effect", "direct_effect", "indirect_effect"):
            key = ScoreKey(component, Quantity(effect, site, Varied.read(metric)))
            assert (key in found) == (effect in expected)
            if effect in expected:
                np.testing.assert_allclose(found[key], expected[effect], atol=2e-4)


@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("family", FAMILIES)
def test_effects_are_those_of_a_forward_pass_for_each_patch(ground, family, direction) -> None:
    lm, made = ground(family)
    sites = ["z", "q", "mlp_out", "attn_out"]
    found = measured(lm, made, source="resample", direction=direction, sites=sites).scores
    cases = (
        (Site.Z, Component(kind=Kind.HEAD, layer=0, index=2)),
        (Site.Z, Component(kind=Kind.HEAD, layer=1, index=3)),
        (Site.Q, Component(kind=Kind.HEAD, layer=0, index=1)),
        (Site.ATTN_OUT, Component(kind=Kind.ATTN, layer=0)),
        (Site.MLP_OUT, Component(kind=Kind.MLP, layer=0)),
    )
    patched = [
        (Patch(site=site, layer=at.layer, head=at.index if at.kind is Kind.HEAD else None),)
        for site, at in cases
    ]
    expected = by_hand(lm, made, direction, *patched)
    for (site, component), values in zip(cases, expected, strict=True):
        assert_effects(found, component, site, values)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2"])
@pytest.mark.parametrize("site", ["k", "v"])
def test_keys_and_values_are_those_of_the_same_option_read_by_a_whole_group(
    ground, family, site
) -> None:
    lm, made = ground(family, SourceKind.PERMUTE_OPTIONS)
    found = measured(lm, made, sites=[site], key_site="content_end").scores
    rows = {key.component for key in found if key.component.kind is Kind.KV_HEAD}
    assert len(rows) == lm.shape.n_layers * lm.shape.n_kv_heads
    group = lm.shape.n_heads // lm.shape.n_kv_heads
    here, there = (
        tuple(each.places.at(KeySite.CONTENT_END) for each in prompts)
        for prompts in (made, [of_source(each) for each in made])
    )
    assert here != there
    patches = tuple(
        Patch(site=Site(site), layer=1, head=head, at=here, value=FromSource(at=there))
        for head in range(group)
    )
    component = Component(kind=Kind.KV_HEAD, layer=1, index=0)
    (expected,) = by_hand(lm, made, "noise", patches)
    assert_effects(found, component, site, expected)


def test_outputs_at_labels_come_from_the_labels_of_the_source(ground) -> None:
    lm, made = ground("llama", SourceKind.PERMUTE_OPTIONS)
    found = measured(lm, made, positions="label").scores
    here, there = (
        tuple(each.places.at(KeySite.LABEL) for each in prompts)
        for prompts in (made, [of_source(each) for each in made])
    )
    for site, head in ((Site.Z, 1), (Site.MLP_OUT, None)):
        kind = Kind.MLP if head is None else Kind.HEAD
        component = Component(kind=kind, layer=0, index=-1 if head is None else head)
        patch = Patch(site=site, layer=0, head=head, at=here, value=FromSource(at=there))
        (expected,) = by_hand(lm, made, "noise", (patch,))
        assert_effects(found, component, site, expected)


def test_a_mean_needs_no_rotary_embedding(shared) -> None:
    lm = model_of(shared, "gpt2")
    prompts = read_for(lm, size=4)
    params = PatchingParams(source="mean", batch_size=4)
    (need,) = params.needs(DistributionSpec())
    learnt = bases.bases(lm, prompts, bases.BasesParams(**need.params), lambda done: None)
    means = result(learnt, bases.derive(learnt, bases.BasesParams(**need.params)))
    found = patching(lm, prompts, params, lambda done: None, inputs={"means": means}).scores
    patch = Patch(
        site=Site.Z, layer=1, head=2, value=constant(means.tensors["z_mean"].values[1, 2])
    )
    logits = logits_under(lm, [Intervention((patch,)), Intervention()], prompts)
    label_ids = torch.tensor([each.label_ids for each in prompts])
    correct = which_are_correct(prompts)
    with_it, without = (metrics.logit_diff(each.gather(1, label_ids), correct) for each in logits)
    head = Component(kind=Kind.HEAD, layer=1, index=2)
    key = ScoreKey(head, Quantity("total_effect", "z", {"of": "logit_diff"}))
    np.testing.assert_allclose(found[key], (with_it - without).numpy(), atol=2e-4)
    nothing = Result(scores={}, means={}, tensors={})
    with pytest.raises(NothingLearnt, match="measured no prompt"):
        patching(lm, prompts, params, lambda done: None, inputs={"means": nothing})


@pytest.mark.parametrize("choices", [{"sites": ["k"]}, {"positions": "label"}])
def test_a_mean_is_only_kept_of_what_is_written_at_the_end(choices) -> None:
    with pytest.raises(Refused, match="means are only available for outputs"):
        PatchingParams(source="mean", **choices)


def test_total_is_direct_for_the_last_mlp(ground) -> None:
    lm, made = ground("llama")
    found = measured(lm, made).scores
    last = Component(kind=Kind.MLP, layer=1)
    keys = [
        key for key in found if key.component == last and key.quantity.metric == "indirect_effect"
    ]
    assert len(keys) == len(LABEL_METRICS)
    for key in keys:
        np.testing.assert_allclose(found[key], 0, atol=1e-5)


def test_an_ablation_has_no_source_and_no_share_of_it(shared, ground) -> None:
    lm, made = ground("gpt2")
    found = measured(lm, made, source="zero")
    assert not moved(list(found.scores))
    key = ScoreKey(
        Component(kind=Kind.HEAD, layer=0, index=1),
        Quantity("total_effect", "z", {"of": "logit_diff"}),
    )
    patch = Patch(site=Site.Z, layer=0, head=1, value=ZERO)
    logits = logits_under(lm, [Intervention((patch,)), Intervention()], made)
    label_ids = torch.tensor([each.label_ids for each in made])
    correct = which_are_correct(made)
    with_it, without = (metrics.logit_diff(each.gather(1, label_ids), correct) for each in logits)
    np.testing.assert_allclose(found.scores[key], (with_it - without).numpy(), atol=2e-4)


def test_patching_every_component_at_once_would_move_all(ground) -> None:
    """What the last layer writes is the rest of the way: shares are of source minus base."""
    lm, made = ground("llama", SourceKind.PERMUTE_OPTIONS)
    found = measured(lm, made).scores
    ratios = moved(list(found))
    heads_and_mlps = 2 * (lm.shape.n_heads + 1)
    assert len(ratios) == len(LABEL_METRICS) * heads_and_mlps
    key = ScoreKey(Component(kind=Kind.MLP, layer=1), Quantity("moved", "mlp_out", {"of": "loss"}))
    over, under = ratios[key]
    assert (over.quantity.metric, under.component, under.quantity.condition) == (
        "total_effect",
        MODEL,
        "source - base",
    )
    gap = (
        found[ScoreKey(MODEL, Quantity("loss", varied={"of": "source"}))]
        - found[ScoreKey(MODEL, Quantity("loss", varied={"of": "base"}))]
    )
    np.testing.assert_array_equal(found[under], gap)


@pytest.mark.parametrize("parts", [1, 3])
def test_numbers_do_not_depend_on_how_a_run_is_cut(ground, parts: int) -> None:
    lm, made = ground("llama", size=12)
    whole = measured(lm, made, batch_size=2)
    cuts = np.array_split(np.arange(12), parts)
    pieces = [measured(lm, [made[n] for n in cut], batch_size=2) for cut in cuts]
    for key, vector in whole.scores.items():
        np.testing.assert_array_equal(
            np.concatenate([piece.scores[key] for piece in pieces]), vector
        )


def test_a_ratio_is_that_of_means_with_a_paired_interval() -> None:
    random = np.random.default_rng(0)
    under = random.normal(2.0, 1.0, 200).astype(np.float32)
    over = (0.25 * under + random.normal(0, 0.01, 200)).astype(np.float32)
    draws = bootstrap.draw([str(n) for n in range(200)], seed=0)
    found = bootstrap.ratio_statistics(
        {"share": ("over", "under")}, ["over", "under"], np.stack([over, under]), draws
    )["share"]
    assert found.mean == pytest.approx(over.mean() / under.mean(), rel=1e-6)
    assert found.ci_low < 0.25 < found.ci_high
    assert found.ci_high - found.ci_low < 0.01  # much less than if they were drawn apart


def test_there_is_no_ratio_over_what_may_be_zero() -> None:
    values = np.array([[1, 2, 3, 4], [-1, 1, -1, 1.5]], dtype=np.float32)
    draws = bootstrap.draw(["a", "b", "c", "d"], seed=0)
    found = bootstrap.ratio_statistics({"r": ("x", "y")}, ["x", "y"], values, draws)["r"]
    assert (found.n, found.mean, found.ci_low) == (4, None, None)


def test_both_means_of_a_ratio_are_over_the_prompts_that_have_both_scores() -> None:
    values = np.array([[1, 2, np.nan, np.nan], [2, 4, 80, 90]], dtype=np.float32)
    draws = bootstrap.draw(list("abcd"), seed=0)
    found = bootstrap.ratio_statistics({"r": ("x", "y")}, ["x", "y"], values, draws)["r"]
    assert (found.mean, found.n, found.skipped) == (0.5, 2, 2)
    assert (found.ci_low, found.ci_high) == (0.5, 0.5)
