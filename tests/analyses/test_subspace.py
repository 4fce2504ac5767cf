"""The rank sweep: its ends are the identity and the mean, and what lies between is exact."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from reference import logits_under
from studied import (
    FAMILIES,
    LONG,
    assert_same,
    in_parts,
    model_of,
    of,
    read_for,
    result,
    run,
    which_are_correct,
)

from analyses import heads, metrics
from analyses.confined import COMBINATIONS, SET, RankTooLarge
from analyses.engine import patterns
from analyses.engine.interventions import Apply, Intervention, Patch, Path, Site, Subspace, constant
from analyses.language_model import LanguageModel
from analyses.methods.bases import BasesParams, bases, derive
from analyses.methods.subspace import (
    OTHER,
    RANDOM,
    SubspaceParams,
    kept,
    ranks_needed,
    subspace,
    warned,
)
from analyses.prompts.examples import Example
from analyses.prompts.key_sites import KeySite
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, Measured, Result, ScoreKey

FEW = {"heads": ("0.1", "1.2"), "placebo_ranks": (1,), "batch_size": 4}


@dataclass(frozen=True, kw_only=True)
class Swept:
    lm: LanguageModel
    prompts: list[Example]
    params: SubspaceParams
    inputs: dict[str, Result]  # the learnt bases
    found: Measured


def params_for(family: str, **choices: object) -> SubspaceParams:
    rotary = "after" if family == "gpt2" else "before"
    return SubspaceParams(**{**FEW, "rotary": rotary, **choices})


@pytest.fixture(scope="session")
def known_sweeps() -> dict[str, Swept]:
    return {}


@pytest.fixture
def swept(shared, known_sweeps):
    """A sweep over held-out prompts, and of what; made once for all tests that ask for the same."""

    def make(family: str, **choices: object) -> Swept:
        lm, key = model_of(shared, family), f"{family} {choices}"
        if key not in known_sweeps:
            known_sweeps[key] = sweep(lm, params_for(family, **choices))
        return known_sweeps[key]

    return make


def sweep(lm: LanguageModel, params: SubspaceParams) -> Swept:
    learn = BasesParams(rotary=params.rotary, key_site=params.key_site, centring=params.centring)
    learnt = run(bases, lm, read_for(lm, size=10, split="train"), learn)
    inputs = {"bases": result(learnt, derive(learnt, learn))}
    prompts = read_for(lm, size=6)
    found = run(subspace, lm, prompts, params, inputs=inputs)
    return Swept(lm=lm, prompts=prompts, params=params, inputs=inputs, found=found)


def head(layer: int, index: int) -> Component:
    return Component(kind=Kind.HEAD, layer=layer, index=index)


@pytest.mark.parametrize("family", FAMILIES)
def test_full_rank_is_the_identity(swept, family: str) -> None:
    made = swept(family, ranks=(1,))
    lm, found = made.lm, made.found
    for component in (head(0, 1), head(1, 2), SET):
        for site in COMBINATIONS:
            for metric in ("logit_diff", "loss", "label_mass"):
                base = of(found, component=MODEL, metric=metric)
                whole = of(found, component=component, metric=metric, site=site, x=lm.shape.d_head)
                np.testing.assert_allclose(whole, base, atol=1e-4)
            direct = of(
                found, component=component, metric="direct_effect", site=site, x=lm.shape.d_head
            )
            np.testing.assert_allclose(
                direct, of(found, component=component, metric="direct_effect", site="z"), atol=1e-4
            )


def test_full_rank_is_the_width_of_each_site(swept) -> None:
    """Queries and keys of 20 dimensions, of which 8 are rotated, and values of 16."""
    found = swept("deepseek_v3", ranks=(8, 18), rotary="after").found
    base = of(found, component=MODEL, metric="logit_diff")
    for site, full in (("q", 20), ("k", 20), ("v", 16), ("qk", 20), ("qkv", 20)):
        ranks = {
            key.x
            for key in found.scores
            if (key.component, key.quantity.metric, key.quantity.site, key.quantity.condition)
            == (SET, "logit_diff", site, "")
        }
        assert ranks == {0, 8, full} | ({18} if full == 20 else set())
        curve = {
            rank: of(found, component=SET, metric="logit_diff", site=site, x=rank) - base
            for rank in (8, full)
        }
        np.testing.assert_allclose(curve[full], 0, atol=1e-4)
        assert np.abs(curve[8]).max() > 10 * np.abs(curve[full]).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_rank_zero_is_mean_ablation(swept, family: str) -> None:
    made = swept(family, ranks=(1,))
    lm, prompts, found = made.lm, made.prompts, made.found
    tensors = made.inputs["bases"].tensors
    before = made.params.rotary == "before"
    at = tuple(each.places.at(KeySite.LABEL) for each in prompts)
    kv = 2 * lm.shape.n_kv_heads // lm.shape.n_heads
    patches = tuple(
        Patch(
            site=Site(site),
            layer=1,
            head=2,
            value=constant(tensors[f"{site}_mean"].values[1, 2 if site == "q" else kv]),
            at=None if site == "q" else at,
            before_rotary=before and site != "v",
        )
        for site in ("q", "k", "v")
    )
    expected = logit_diffs(lm, prompts, Intervention(patches), Intervention(patches, Path.DIRECT))
    nothing = of(found, component=head(1, 2), metric="logit_diff", site="qkv")
    np.testing.assert_allclose(nothing, expected[0], atol=2e-4)
    ablated = Patch(site=Site.Z, layer=1, head=2, value=constant(tensors["z_mean"].values[1, 2]))
    (without,) = logit_diffs(lm, prompts, Intervention((ablated,), Path.DIRECT))
    direct = of(found, component=head(1, 2), metric="direct_effect", site="qkv")
    np.testing.assert_allclose(direct, expected[1] - without, atol=2e-4)


def logit_diffs(lm, prompts, *interventions: Intervention) -> np.ndarray:
    """By one full forward pass each, with plain hooks."""
    logits = logits_under(lm, interventions, prompts)
    label_ids = torch.tensor([each.label_ids for each in prompts])
    correct = which_are_correct(prompts)
    return np.stack(
        [metrics.logit_diff(each.gather(1, label_ids), correct).numpy() for each in logits]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_what_it_was_at_full_rank_only(swept, family: str) -> None:
    made = swept(family, ranks=(1,))
    lm, found = made.lm, made.found
    for component in (head(0, 1), head(1, 2)):
        for site in ("q", "k", "qk"):
            row = {"component": component, "metric": "attention_kl", "site": site}
            np.testing.assert_allclose(of(found, **row, x=lm.shape.d_head), 0, atol=1e-8)
    assert of(found, **row, x=0).max() > 100 * 1e-8


def test_the_divergence_of_rows_on_paper() -> None:
    """From (1/2, 1/2) to (1/4, 3/4), and where half goes to a sink."""
    one = torch.tensor([[0.5, 0.5], [0.5, 0.0]])
    other = torch.tensor([[0.25, 0.75], [0.5, 0.0]])
    found = patterns.divergence(one, other)
    assert found.tolist() == pytest.approx([0.5 * np.log(2) + 0.5 * np.log(2 / 3), 0])
    assert torch.isfinite(patterns.divergence(one, other.flip(-1))).all()


@pytest.mark.parametrize("centring", ["global", "per_index"])
def test_a_rank_between_is_a_forward_pass_with_projected_reads(swept, centring: str) -> None:
    made = swept("qwen2", ranks=(3,), centring=centring)
    lm, prompts, found = made.lm, made.prompts, made.found
    tensors = {
        name: torch.from_numpy(each.values) for name, each in made.inputs["bases"].tensors.items()
    }
    options = list(zip(*(each.places.at(KeySite.LABEL) for each in prompts), strict=True))
    patches = []
    for layer, index in ((0, 1), (1, 2)):
        kv = index * lm.shape.n_kv_heads // lm.shape.n_heads
        q = Subspace(tensors["q_mean"][layer, index], tensors["q_basis"][layer, index, :, :3])
        patches.append(
            Patch(site=Site.Q, layer=layer, head=index, value=Apply(q), before_rotary=True)
        )
        for option, at in enumerate(options):
            mean = tensors["k_mean"][layer, kv]
            if centring == "per_index":
                mean = tensors["k_index_mean"][layer, option, kv]
            k = Subspace(mean, tensors["k_basis"][layer, kv, :, :3])
            patches.append(
                Patch(
                    site=Site.K,
                    layer=layer,
                    head=index,
                    value=Apply(k),
                    at=tuple((position,) for position in at),
                    before_rotary=True,
                )
            )
    (expected,) = logit_diffs(lm, prompts, Intervention(tuple(patches)))
    together = of(found, component=SET, metric="logit_diff", site="qk", x=3)
    np.testing.assert_allclose(together, expected, atol=1e-5)
    base = of(found, component=MODEL, metric="logit_diff")
    assert np.abs(together - base).max() > 100 * 1e-5


def test_placebos_have_their_ranks_and_are_not_what_was_learnt(swept) -> None:
    found = swept("llama", ranks=(1,), placebo_ranks=(1, 2, 8)).found
    ranks = {
        (key.quantity.varied, key.x) for key in found.scores if "placebo" in key.quantity.varied
    }
    assert ranks == {(each, rank) for each in (OTHER, RANDOM) for rank in (1, 2)}  # d_head is 8
    learnt = of(found, component=SET, metric="logit_diff", site="qk", x=1)
    for placebo in (OTHER, RANDOM):
        tried = of(found, component=SET, metric="logit_diff", site="qk", condition=placebo, x=1)
        assert np.abs(tried - learnt).max() > 1e-3


@pytest.mark.parametrize("rotary", ["before", "after"])
def test_ranks_beyond_what_was_learnt_from_are_its_rank(shared, rotary: str) -> None:
    """Four prompts have at most three directions of queries; eight of keys, which is full rank."""
    lm = shared("llama", **LONG)
    learn = BasesParams(rotary=rotary)
    learnt = run(bases, lm, read_for(lm, size=4, split="train"), learn)
    inputs = {"bases": result(learnt, derive(learnt, learn))}
    params = SubspaceParams(
        heads=("0.1", "1.2"), ranks=range(8), placebo_ranks=(3, 5), rotary=rotary
    )
    found = run(subspace, lm, read_for(lm, size=3), params, inputs=inputs)
    assert of(found, component=head(1, 2), metric="data_rank", site="q").tolist() == [3, 3, 3]
    for metric in ("logit_diff", "direct_effect", "attention_kl"):
        curve = [
            of(found, component=head(1, 2), metric=metric, site="q", x=rank) for rank in range(8)
        ]
        for rank in range(4, 8):
            np.testing.assert_array_equal(curve[rank], curve[3])
        assert not np.allclose(curve[2], curve[3], rtol=0, atol=1e-9)
    for placebo in (OTHER, RANDOM):
        tried = {"component": head(1, 2), "metric": "logit_diff", "site": "q"}
        three, five = (of(found, **tried, condition=placebo, x=rank) for rank in (3, 5))
        np.testing.assert_array_equal(three, five)
    base = of(found, component=MODEL, metric="logit_diff")
    full = of(found, component=head(1, 2), metric="logit_diff", site="q", x=8)
    np.testing.assert_allclose(full, base, atol=1e-4)
    said = [each.partition(" (")[0] for each in warned(result(found).means, params)]
    assert "The queries that were learnt from span fewer than 7 dimensions in 2 heads" in said


def test_ratios_are_of_the_direct_effect_of_the_model_as_it_is(swept) -> None:
    found = swept("llama", ranks=(1,)).found
    ratios = kept(list(found.scores))
    key = ScoreKey(SET, Quantity("direct_kept", "q"), x=1)
    over, under = ratios[key]
    assert (over.quantity.site, over.x, under.quantity.site) == ("q", 1, "z")
    of_each = 3 * 5 * 3  # components, sites, ranks 0, 1 and d_head
    placebos = 3 * 5 * 2
    assert len(ratios) == 2 * of_each + placebos
    gained, gain = ratios[ScoreKey(SET, Quantity("kept", "qk"), x=1)]
    one, base = (
        of(found, component=component, metric="logit_diff", **more)
        for component, more in ((SET, {"site": "qk", "x": 1}), (MODEL, {}))
    )
    nothing = of(found, component=SET, metric="logit_diff", site="qk")
    np.testing.assert_allclose(found.scores[gained], one - nothing, atol=1e-6)
    np.testing.assert_allclose(found.scores[gain], base - nothing, atol=1e-6)


def test_the_rank_that_is_needed_on_paper() -> None:
    def curve(varied: Varied, *values: float) -> dict[ScoreKey, float]:
        return {
            ScoreKey(SET, Quantity("gained", "q", varied), x=x): value
            for x, value in enumerate(values)
        }

    gain = {ScoreKey(SET, Quantity("gain", "q")): 2.0}
    means = gain | curve(Varied(), 0.0, 1.8, 1.96, 2.0) | curve(RANDOM, 0.0, 0.2, 1.0)
    found = ranks_needed(means, SubspaceParams())
    assert {
        (key.quantity.condition, key.quantity.metric): value for key, value in found.items()
    } == {
        ("", "rank_needed"): 2  # 95 % of 2 is 1.9
    }
    assert (
        ranks_needed(curve(Varied(), 0.0, 1.0), SubspaceParams()) == {}
    )  # what there is is not sure


def test_numbers_do_not_depend_on_how_a_run_is_cut(swept) -> None:
    whole = swept("qwen2", ranks=(2,), batch_size=2)
    parts = in_parts(subspace, whole.lm, whole.prompts, whole.params, 3, inputs=whole.inputs)
    assert_same(whole.found, parts)


def test_what_cannot_be_is_refused_at_the_door(shared) -> None:
    lm = shared("llama", **LONG)
    held_out = DistributionSpec(split="test")
    with pytest.raises(RankTooLarge, match=r"No rank 99: .* 8 dimensions"):
        SubspaceParams(ranks=(99,)).check(lm.shape, held_out)
    with pytest.raises(heads.NoSuchHead, match=r"no head 2\.0: it has 2 layers of 4 heads"):
        SubspaceParams(heads=("2.0",)).check(lm.shape, held_out)
    with pytest.raises(heads.NotHeldOut, match="Take split 'test'"):
        SubspaceParams().check(lm.shape, DistributionSpec())
    with pytest.raises(ValueError, match="not be negative"):
        SubspaceParams(ranks=(-1,))


def test_it_needs_the_strongest_heads_unless_they_are_named() -> None:
    spec = DistributionSpec(data="colours", split="test", size=16)
    needs = SubspaceParams(train_prompts=32, key_site="bracket").needs(spec)
    assert [(each.name, each.analysis) for each in needs] == [
        ("effects", "patching"),
        ("bases", "bases"),
    ]
    assert {(each.distribution.split, each.distribution.size) for each in needs} == {("train", 32)}
    assert needs[1].params["key_site"] == "bracket"
    assert [each.name for each in SubspaceParams(heads=("0.1",)).needs(spec)] == ["bases"]
