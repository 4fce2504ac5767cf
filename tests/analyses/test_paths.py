"""Path effects against passes with all else frozen, and which heads receive."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from completed import read_completions
from reference import HeadRead, logits_of_paths, logits_under
from studied import LONG, assert_same, in_parts, read_for, run, score, which_are_correct

from analyses import metrics
from analyses.effects import At
from analyses.engine.interventions import FromSource, Intervention, Patch, Site
from analyses.heads import NoSuchHead
from analyses.language_model import LanguageModel
from analyses.methods.bases import BasesParams
from analyses.methods.label_randomisation import LabelRandomisationParams
from analyses.methods.patching import PatchingParams
from analyses.methods.paths import NothingBelow, PathsParams, paths
from analyses.methods.subspace import SubspaceParams
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.examples import Example, examples
from analyses.prompts.key_sites import NoKeySite
from analyses.prompts.places import UnknownSite
from analyses.prompts.sources import SourceKind
from analyses.quantities import Varied
from analyses.registry import Params
from analyses.results import Component, Kind, Measured, Result
from analyses.stored import LABEL_METRICS

DEEP = {"gpt2": {"n_layer": 3}}
PAIRED = SourceKind.PAIRED
HEAD = Component(kind=Kind.HEAD, layer=0, index=2)
ABOVE = Component(kind=Kind.HEAD, layer=1, index=0)
MLP = Component(kind=Kind.MLP, layer=0)
Path = tuple[Patch, list[HeadRead]]


@pytest.fixture
def ground(load):
    """A random model of three layers."""

    def make(family: str) -> LanguageModel:
        return load(family, **LONG, **DEEP.get(family, {"num_hidden_layers": 3}))

    return make


def at_site(prompts: Sequence[Example], site: str) -> At:
    return tuple(each.places.at(site) for each in prompts)


def by_hand(lm, made, paths: list[Path], base, source) -> list[dict[str, np.ndarray]]:
    """Of each path, every metric with it minus that without."""
    plain = logits_under(lm, [Intervention()], base)
    logits = torch.cat([plain, logits_of_paths(lm, paths, base, source)])
    label_ids = torch.tensor([each.label_ids for each in made])
    correct = which_are_correct(made)
    before, *after = (
        metrics.of_logits(each.gather(1, label_ids), correct, each.logsumexp(-1)) for each in logits
    )
    return [{name: (each[name] - before[name]).numpy() for name in before} for each in after]


def assert_paths(found: Measured, component: Component, to: str, expected) -> None:
    site = "mlp_out" if component.kind is Kind.MLP else "z"
    assert expected.keys() == {each.metric for each in LABEL_METRICS}
    for metric, values in expected.items():
        key = score(component, "path_effect", site, Varied({"of": metric, "to": to}))
        np.testing.assert_allclose(found.scores[key], values, atol=2e-4)


@pytest.mark.parametrize(
    ("family", "direction"),
    [("gemma2", "denoise"), ("gpt2", "noise"), ("llama", "noise"), ("qwen2", "denoise")],
)
def test_paths_into_queries_are_passes_with_all_else_frozen(ground, family, direction) -> None:
    """Into one receiver, and into two at once, of which the lower one is not above every sender.

    Counterfactuals have other lengths, and two of four candidates are correct.
    """
    lm = ground(family)
    made = read_completions(lm)
    params = PathsParams(source="paired", receivers=("2.3", "1.1"), direction=direction)
    found = run(paths, lm, made, params)
    own, other = made, [each.companions[PAIRED] for each in made]
    base, source = (own, other) if direction == "noise" else (other, own)
    one, two = (1, 1, Site.Q), (2, 3, Site.Q)
    cases = [
        (HEAD, Patch(site=Site.Z, layer=0, head=2), [one], "1.1.q"),
        (MLP, Patch(site=Site.MLP_OUT, layer=0), [two], "2.3.q"),
        (ABOVE, Patch(site=Site.Z, layer=1, head=0), [one, two], "all.q"),
        (MLP, Patch(site=Site.MLP_OUT, layer=0), [one, two], "all.q"),
    ]
    expected = by_hand(lm, made, [(sender, into) for _, sender, into, _ in cases], base, source)
    for (component, _, _, to), values in zip(cases, expected, strict=True):
        assert_paths(found, component, to, values)
    into_lower = {key.component for key in found.scores if key.quantity.varied.get("to") == "1.1.q"}
    assert into_lower == {MLP, *(Component(kind=Kind.HEAD, layer=0, index=n) for n in range(4))}


def check_places(lm, made, kind: SourceKind, *, key_site: str, positions: str) -> None:
    """Paths into k and v at one site and q at another, one receiver's, from the same of sources."""
    choices = {"reads": ("k", "v", "q"), "key_site": key_site, "positions": positions}
    found = run(paths, lm, made, PathsParams(source=kind.value, receivers=("1.3",), **choices))
    sources = [each.companions[kind] for each in made]
    cases: list[Path] = []
    for site, where in (("k", key_site), ("v", key_site), ("q", positions)):
        here, there = at_site(made, where), at_site(sources, where)
        assert here != there
        sender = Patch(site=Site.Z, layer=0, head=2, value=FromSource(at=there), at=here)
        cases.append((sender, [(1, 3, Site(site))]))
    for (_, [(_, _, site)]), values in zip(
        cases, by_hand(lm, made, cases, made, sources), strict=True
    ):
        assert_paths(found, HEAD, f"1.3.{site}", values)
        assert_paths(found, HEAD, f"all.{site}", values)


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama", "qwen2"])
def test_paths_into_spans_begin_at_the_same_span_of_the_counterfactual(ground, family) -> None:
    lm = ground(family)
    check_places(lm, read_completions(lm), PAIRED, key_site="who", positions="what")


def test_paths_into_options_begin_at_the_same_option_of_the_source(ground) -> None:
    lm = ground("llama")
    made = read_for(lm, size=1, kinds=[SourceKind.PERMUTE_OPTIONS])
    check_places(
        lm, made, SourceKind.PERMUTE_OPTIONS, key_site="content_end", positions="content_end"
    )


def test_a_source_that_is_the_prompt_has_no_effect_at_all(ground) -> None:
    lm = ground("gemma2")
    made = read_completions(lm, copies=True)
    choices = {"reads": ("q", "k", "v"), "key_site": "who"}
    params = PathsParams(source="paired", receivers=("1.0", "2.2"), **choices)
    found = run(paths, lm, made, params)
    effects = [key for key in found.scores if key.quantity.metric == "path_effect"]
    assert len(effects) == len(LABEL_METRICS) * 3 * (5 + 10 + 10)
    assert not any(found.scores[key].any() for key in effects)


def test_numbers_do_not_depend_on_how_a_run_is_cut(ground) -> None:
    lm = ground("llama")
    made = read_completions(lm)[:4]
    params = PathsParams(source="paired", receivers=("1.0", "2.2"), batch_size=2)
    assert_same(run(paths, lm, made, params), in_parts(paths, lm, made, params, 2))


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


@pytest.mark.parametrize(
    ("params", "named"),
    [
        (BasesParams(key_site="labels"), "key_site"),
        (SubspaceParams(key_site="labels"), "key_site"),
        (LabelRandomisationParams(key_site="labels"), "key_site"),
        (PatchingParams(sites=("k",), key_site="labels"), "key_site"),
        (PathsParams(reads=("k",), key_site="labels"), "key_site"),
        (PathsParams(positions="labels"), "positions"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_unknown_site_of_questions_is_refused_by_its_parameter(
    load, params: Params, named: str
) -> None:
    (prompt,) = examples(load("llama", **LONG).tokenizer, build(DistributionSpec(size=1)).prompts)
    said = rf"Invalid {named} 'labels'.* Did you mean 'label'\? Choose from label, bracket"
    with pytest.raises(UnknownSite, match=said):
        params.check_places(prompt.places)


def test_keys_without_a_place_in_the_text_are_refused(load) -> None:
    (completion, *_) = read_completions(load("llama", **LONG))
    PathsParams(receivers=("1.0",)).check_places(completion.places)  # queries at the final position
    with pytest.raises(UnknownSite, match=r"Invalid key_site 'label'.* Choose from who, what"):
        PathsParams(receivers=("1.0",), reads=("k",)).check_places(completion.places)
    PathsParams(receivers=("1.0",), reads=("k",), key_site="what").check_places(completion.places)
