"""Patches of completions against one full forward pass each; maps of layer × position."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from completed import CANDIDATES, PAIRS, read_completions
from reference import logits_under
from studied import model_of, of, run

from analyses.engine.interventions import ZERO, FromSource, Intervention, Patch, Path, Site
from analyses.methods.patching import PatchingParams, moved, patching
from analyses.position_maps import named
from analyses.prompts.examples import Example
from analyses.prompts.sources import SourceKind
from analyses.results import MODEL, Component, Kind, Measured

FAMILIES = ["gemma2", "gpt2", "llama", "qwen2"]
RESID, ATTN, MLP = Kind.MODEL, Kind.ATTN, Kind.MLP
OF_SITES = {"resid_pre": RESID, "attn_out": ATTN, "mlp_out": MLP}


def source_of(example: Example) -> Example:
    return example.companions[SourceKind.PAIRED]


def two_runs(made: Sequence[Example], direction: str) -> tuple[list[Example], list[Example]]:
    """The prompts that are patched, and those that activations come from."""
    own, other = list(made), [source_of(each) for each in made]
    return (own, other) if direction == "noise" else (other, own)


def logit_diffs(lm, made, direction: str, interventions: Sequence[Intervention]) -> np.ndarray:
    """Mean logit of the two correct candidates minus that of the two others, by plain hooks."""
    logits = logits_under(lm, interventions, *two_runs(made, direction))
    rows = []
    for row, example in enumerate(made):
        of_candidates = logits[:, row, list(example.label_ids)]
        assert (example.correct, len(CANDIDATES)) == ((2, 3), 4)
        rows.append(of_candidates[:, 2:].mean(-1) - of_candidates[:, :2].mean(-1))
    return torch.stack(rows, dim=1).numpy()


def effect(found: Measured, kind: Kind, site: str, layer: int, condition: str, index: int = -1):
    component = Component(kind=kind, layer=layer, index=index)
    return of(found, component=component, metric="total_effect", site=site, condition=condition)


@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_counterfactual_is_patched_in_as_by_a_hook(load, family: str, direction: str) -> None:
    lm = model_of(load, family)
    made = read_completions(lm)
    assert any(len(one.input_ids) != len(source_of(one).input_ids) for one in made)
    sites = ("z", "q", "mlp_out", "attn_out", "resid_pre")
    params = PatchingParams(source="paired", direction=direction, sites=sites, batch_size=4)
    found = run(patching, lm, made, params)
    for site, kind, index in (
        ("z", Kind.HEAD, 1),
        ("q", Kind.HEAD, 2),
        ("mlp_out", MLP, -1),
        ("attn_out", ATTN, -1),
        ("resid_pre", RESID, -1),
    ):
        patch = Patch(site=Site(site), layer=1, head=index if kind is Kind.HEAD else None)
        every = [Intervention(), Intervention((patch,)), Intervention((patch,), Path.DIRECT)]
        before, total, direct = logit_diffs(lm, made, direction, every)
        component = Component(kind=kind, layer=1, index=index)
        for metric, expected in (
            ("total_effect", total - before),
            ("direct_effect", direct - before),
            ("indirect_effect", total - direct),
        ):
            stored = of(
                found, component=component, metric=metric, site=site, condition="logit_diff"
            )
            np.testing.assert_allclose(stored, expected, atol=1e-4)
        assert np.abs(total - before).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_span_is_patched_from_the_same_span_wherever_it_is(load, family: str) -> None:
    lm = model_of(load, family)
    made = read_completions(lm)
    sites = ("z", "mlp_out", "k", "v")
    params = PatchingParams(source="paired", sites=sites, positions="what", key_site="who")
    found = run(patching, lm, made, params)
    ends = {
        span: [
            tuple(each.places.at(span) for each in prompts) for prompts in two_runs(made, "noise")
        ]
        for span in ("what", "who")
    }
    assert ends["what"][0] != ends["what"][1]
    group = range(lm.shape.n_heads // lm.shape.n_kv_heads)
    for site, kind, index, heads, span in (
        ("z", Kind.HEAD, 1, [1], "what"),
        ("mlp_out", MLP, -1, [None], "what"),
        ("k", Kind.KV_HEAD, 0, group, "who"),
        ("v", Kind.KV_HEAD, 0, group, "who"),
    ):
        here, there = ends[span]
        patches = tuple(
            Patch(site=Site(site), layer=0, head=head, at=here, value=FromSource(at=there))
            for head in heads
        )
        before, total = logit_diffs(lm, made, "noise", [Intervention(), Intervention(patches)])
        stored = effect(found, kind, site, 0, "logit_diff", index)
        np.testing.assert_allclose(stored, total - before, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "direction"),
    [("gemma2", "noise"), ("gpt2", "denoise"), ("llama", "noise"), ("qwen2", "denoise")],
)
def test_a_position_map_is_a_hook_at_every_layer_and_position(load, family, direction) -> None:
    lm = model_of(load, family)
    made = read_completions(lm)
    params = PatchingParams(source="paired", positions="each", direction=direction, batch_size=4)
    found = run(patching, lm, made, params)
    base, source = two_runs(made, direction)
    shared = [
        {name for name in named(one.places) if name in named(other.places)}
        for one, other in zip(base, source, strict=True)
    ]
    before = logit_diffs(lm, made, direction, [Intervention()])[0]
    for name in ("start", "who", "what[0]", "what[1]", "who+1", "what+1", "end"):
        rows = [row for row, names in enumerate(shared) if name in names]
        assert rows
        some = [made[row] for row in rows]
        here, there = (
            tuple((named(prompts[row].places)[name],) for row in rows) for prompts in (base, source)
        )
        for site, kind in OF_SITES.items():
            patch = Patch(site=Site(site), layer=1, at=here, value=FromSource(at=there))
            (total,) = logit_diffs(lm, some, direction, [Intervention((patch,))])
            stored = effect(found, kind, site, 1, f"logit_diff/at={name}")
            np.testing.assert_allclose(stored[rows], total - before[rows], atol=1e-4)
            assert np.isnan(np.delete(stored, rows)).all()


def test_a_map_of_an_ablation_has_no_source_and_skips_only_what_prompts_lack(load) -> None:
    lm = model_of(load, "llama")
    made = read_completions(lm)
    found = run(patching, lm, made, PatchingParams(source="zero", positions="each"))
    here = tuple((named(each.places)["who+1"],) for each in made)
    patch = Patch(site=Site.MLP_OUT, layer=0, value=ZERO, at=here)
    before, total = logit_diffs(lm, made, "noise", [Intervention(), Intervention((patch,))])
    stored = effect(found, MLP, "mlp_out", 0, "logit_diff/at=who+1")
    np.testing.assert_allclose(stored, total - before, atol=1e-4)
    assert not moved(list(found.scores))


def test_a_prompt_with_its_only_other_token_patched_in_layer_0_is_the_counterfactual(load) -> None:
    lm = model_of(load, "llama")
    made = read_completions(lm, [(0, {"who": "A", "what": "x"}, {"who": "B", "what": "x"})])
    found = run(patching, lm, made, PatchingParams(source="paired", positions="each"))
    gap = of(found, component=MODEL, metric="logit_diff", condition="source - base")
    at_who = effect(found, RESID, "resid_pre", 0, "logit_diff/at=who")
    np.testing.assert_allclose(at_who, gap, atol=1e-5)
    assert np.abs(gap).max() > 1e-3
    before_it = effect(found, RESID, "resid_pre", 1, "logit_diff/at=start")
    np.testing.assert_array_equal(before_it, 0)
    last_layer = effect(found, MLP, "mlp_out", 1, "logit_diff/at=who")
    np.testing.assert_allclose(last_layer, 0, atol=1e-6)  # nothing above reads it


def test_a_prompt_that_is_its_own_counterfactual_is_not_changed(load) -> None:
    lm = model_of(load, "llama")
    made = read_completions(lm, copies=True)
    mapped = run(patching, lm, made, PatchingParams(source="paired", positions="each"))
    final = run(patching, lm, made, PatchingParams(source="paired"))
    for found, most in ((mapped, 0.0), (final, 1e-5)):
        effects = [v for k, v in found.scores.items() if k.quantity.metric == "total_effect"]
        assert effects
        assert np.nanmax(np.abs(effects)) <= most


def test_numbers_of_a_map_do_not_depend_on_how_a_run_is_cut(load) -> None:
    lm = model_of(load, "llama")
    made = read_completions(lm, [*PAIRS, *PAIRS])
    params = PatchingParams(source="paired", positions="each", batch_size=2)
    whole = run(patching, lm, made, params)
    pieces = [run(patching, lm, made[cut], params) for cut in (slice(0, 4), slice(4, None))]
    for key, vector in whole.scores.items():
        parts = [
            piece.scores.get(key, np.full(length, np.nan, dtype=np.float32))
            for piece, length in zip(pieces, (4, 6), strict=True)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), vector, err_msg=str(key))


def test_a_map_tells_which_prompts_have_a_position_and_where(load) -> None:
    lm = model_of(load, "llama")
    made = read_completions(lm)
    found = run(patching, lm, made, PatchingParams(source="paired", positions="each"))
    found.check([each.number for each in made])
    second = of(found, component=MODEL, metric="position", condition="at=what[1]")
    ends = [each.places.at("what")[0] for each in made]
    # Of the others, the prompt or its counterfactual has one token there; `xyz` ends later.
    assert np.flatnonzero(~np.isnan(second)).tolist() == [0, 1, 3]
    assert second[[0, 1, 3]].tolist() == [ends[0], ends[1], ends[3] - 1]
