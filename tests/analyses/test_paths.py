"""Path effects against passes with all else frozen, and which heads receive."""

import numpy as np
import pytest
import torch
from reference import logits_of_path, logits_under
from studied import LONG, assert_same, in_parts, read_for, run, score, which_are_correct

from analyses import metrics
from analyses.engine.interventions import FromSource, Intervention, Patch, Site
from analyses.heads import NoSuchHead
from analyses.methods.paths import NothingBelow, PathsParams, paths
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.examples import examples
from analyses.prompts.key_sites import KeySite, NoKeySite
from analyses.prompts.sources import SourceKind
from analyses.quantities import Varied
from analyses.results import Component, Kind, Result

DEEP = {"gpt2": {"n_layer": 3}}
KIND = SourceKind.PERMUTE_OPTIONS
HEAD = Component(kind=Kind.HEAD, layer=0, index=2)
ABOVE = Component(kind=Kind.HEAD, layer=1, index=0)
MLP = Component(kind=Kind.MLP, layer=0)


@pytest.fixture
def ground(load):
    """A random model of three layers, and prompts of colours beside their sources."""

    def make(family: str, size: int = 4):
        lm = load(family, **LONG, **DEEP.get(family, {"num_hidden_layers": 3}))
        return lm, read_for(lm, size=size, kinds=[KIND])

    return make


def sources_of(prompts):
    return [each.companions[KIND] for each in prompts]


def at_site(prompts, site: KeySite):
    return tuple(each.places.at(site) for each in prompts)


def by_hand(lm, made, sender, reads, base, source):
    """Every metric with the path minus that without."""
    logits = torch.stack(
        [
            logits_under(lm, [Intervention()], base)[0],
            logits_of_path(lm, sender, reads, base, source),
        ]
    )
    label_ids = torch.tensor([each.label_ids for each in made])
    correct = which_are_correct(made)
    before, after = (
        metrics.of_logits(each.gather(1, label_ids), correct, each.logsumexp(-1)) for each in logits
    )
    return {name: (after[name] - before[name]).numpy() for name in before}


def assert_paths(found, component, to: str, expected) -> None:
    site = "mlp_out" if component.kind is Kind.MLP else "z"
    for metric, values in expected.items():
        key = score(component, "path_effect", site, Varied({"of": metric, "to": to}))
        np.testing.assert_allclose(found.scores[key], values, atol=2e-4)


@pytest.mark.parametrize(
    ("family", "direction"),
    [("gemma2", "denoise"), ("gpt2", "noise"), ("llama", "noise"), ("qwen2", "denoise")],
)
def test_paths_into_queries_are_passes_with_all_else_frozen(ground, family, direction) -> None:
    """Into one receiver, and into two at once, of which the lower one is not above every sender."""
    lm, made = ground(family)
    params = PathsParams(receivers=("2.3", "1.1"), direction=direction)
    found = run(paths, lm, made, params)
    base, source = (made, sources_of(made)) if direction == "noise" else (sources_of(made), made)
    one, other = (1, 1, Site.Q), (2, 3, Site.Q)
    for component, reads, to in (
        (HEAD, [one], "1.1.q"),
        (MLP, [other], "2.3.q"),
        (ABOVE, [other], "all.q"),
        (MLP, [one, other], "all.q"),
    ):
        site = Site.MLP_OUT if component is MLP else Site.Z
        head = None if component is MLP else component.index
        sender = Patch(site=site, layer=component.layer, head=head)
        assert_paths(found, component, to, by_hand(lm, made, sender, reads, base, source))
    into_lower = {key.component for key in found.scores if key.quantity.varied.get("to") == "1.1.q"}
    assert into_lower == {MLP, *(Component(kind=Kind.HEAD, layer=0, index=n) for n in range(4))}


@pytest.mark.parametrize("family", ["gemma2", "llama"])
def test_paths_into_keys_and_values_begin_at_the_same_token_of_the_source(ground, family) -> None:
    lm, made = ground(family, size=2)
    choices = {"reads": ("k", "v", "q"), "key_site": "content_end", "positions": "label"}
    found = run(paths, lm, made, PathsParams(receivers=("1.3",), **choices))
    for site, where in (("k", "content_end"), ("v", "content_end"), ("q", "label")):
        here, there = (at_site(each, KeySite(where)) for each in (made, sources_of(made)))
        assert here != there
        sender = Patch(site=Site.Z, layer=0, head=2, value=FromSource(at=there), at=here)
        expected = by_hand(lm, made, sender, [(1, 3, Site(site))], made, sources_of(made))
        assert_paths(found, HEAD, f"1.3.{site}", expected)
        assert_paths(found, HEAD, f"all.{site}", expected)


def test_a_source_that_is_the_prompt_has_no_effect_at_all(ground) -> None:
    lm, _ = ground("gemma2")
    prompts = build(DistributionSpec(data="colours", size=8)).prompts
    same = examples(lm.tokenizer, prompts, {KIND: {each.number: each for each in prompts}})
    found = run(paths, lm, same, PathsParams(receivers=("1.0", "2.2"), reads=("q", "k", "v")))
    effects = [key for key in found.scores if key.quantity.metric == "path_effect"]
    assert len(effects) == 5 * 3 * (5 + 10 + 10)
    assert not any(found.scores[key].any() for key in effects)


def test_numbers_do_not_depend_on_how_a_run_is_cut(ground) -> None:
    lm, made = ground("llama", size=6)
    params = PathsParams(receivers=("1.0", "2.2"), batch_size=2)
    assert_same(run(paths, lm, made, params), in_parts(paths, lm, made, params, 3))


def effects_of(**direct: float) -> Result:
    means = {
        score(
            Component(kind=Kind.HEAD, layer=int(name[1]), index=int(name[3])),
            metric,
            "z",
            "logit_diff",
        ): value
        for name, value in direct.items()
        for metric, value in (("direct_effect", value), ("total_effect", 10 - abs(value)))
    }
    return Result(scores={}, means=means, tensors={})


def test_the_receivers_are_the_heads_with_the_largest_direct_effects() -> None:
    """Those of layer 0 receive from none."""
    inputs = {"effects": effects_of(l0h0=9.0, l1h0=0.5, l1h2=-3.0, l2h1=2.0)}
    chosen = PathsParams(strongest=2).chosen(inputs)
    assert [head.label for head in chosen] == ["L01.H02", "L02.H01"]
    named = PathsParams(receivers=("2.01", "1.0", "2.1"))
    assert named.receivers == ("2.1", "1.0")
    assert [head.label for head in named.chosen({})] == ["L01.H00", "L02.H01"]


def test_receivers_that_are_not_named_need_patching_of_the_train_split() -> None:
    spec = DistributionSpec(data="colours", split="test")
    (need,) = PathsParams(source="resample", direction="denoise").needs(spec)
    assert (need.name, need.analysis, need.distribution.split) == ("effects", "patching", "train")
    assert (need.params["source"], need.params["direction"]) == ("resample", "denoise")
    assert not PathsParams(receivers=("1.0",)).needs(spec)


@pytest.mark.parametrize(
    ("receivers", "layers", "error", "said"),
    [
        (("1.0", "0.3"), 2, NothingBelow, r"Head 0\.3 is in layer 0, so no head or MLP"),
        ((), 1, NothingBelow, r"The model has one layer, .* receivers of layer 1 or above"),
        (("1.4",), 2, NoSuchHead, r"no head 1\.4: it has 2 layers of 4 heads"),
    ],
)
def test_a_receiver_without_a_sender_is_refused(load, receivers, layers, error, said) -> None:
    lm = load("llama", num_hidden_layers=layers)
    with pytest.raises(error, match=said):
        PathsParams(receivers=receivers).check(lm.shape, DistributionSpec())


def test_a_prompt_without_the_token_that_is_read_is_refused(load, tmp_path) -> None:
    """On one line, options have no token of their line's end."""
    template = tmp_path / "one-line.jinja"
    options = "{% for o in options %}({{ o.label }}) {{ o.text }}; {% endfor %}"
    template.write_text("{{ question }}\n" + options + "Answer: (")
    built = build(DistributionSpec(data="colours", size=1, template=f"file:{template}"))
    (prompt,) = examples(load("llama", **LONG).tokenizer, built.prompts)
    for choices in ({"reads": ("q", "v"), "key_site": "option_end"}, {"positions": "option_end"}):
        with pytest.raises(NoKeySite, match="no separate token for the key site 'option_end'"):
            PathsParams(receivers=("1.0",), **choices).check_places(prompt.places)
    for choices in ({"key_site": "option_end"}, {"positions": "option_end", "reads": ("k",)}):
        PathsParams(receivers=("1.0",), **choices).check_places(prompt.places)  # not read
