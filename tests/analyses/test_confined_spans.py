"""Bases at spans of completions, and heads that read a span in few dimensions only."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from persons import read, where_of_io, where_of_s1
from reference import logits_under
from studied import LONG, of, result, run

from analyses.confined import SET
from analyses.engine.interventions import Apply, Intervention, Patch, Site, Subspace, constant
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.methods.bases import BasesParams, bases, derive
from analyses.methods.label_randomisation import LabelRandomisationParams, LabelsOfQuestionsOnly
from analyses.methods.subspace import SubspaceParams, subspace
from analyses.prompts.examples import Example
from analyses.prompts.places import UnknownSite
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.results import MODEL, Component, Kind, Result, ScoreKey

Load = Callable[..., LanguageModel]
Learnt = Callable[[str], tuple[LanguageModel, Result]]
HELD_OUT = range(20, 24)
PARAMS = {"heads": ("0.1", "1.2"), "key_site": "io", "ranks": (3,), "placebo_ranks": ()}
HEAD = Component(kind=Kind.HEAD, layer=1, index=2)


def logit_diffs(
    lm: LanguageModel, prompts: Sequence[Example], patches: Sequence[Patch]
) -> np.ndarray:
    """By plain hooks and one full forward pass; two of three candidates are correct."""
    (logits,) = logits_under(lm, [Intervention(tuple(patches))], prompts)
    found = []
    for row, prompt in zip(logits, prompts, strict=True):
        s, io, third = row[list(prompt.label_ids)].double().tolist()
        found.append((io + third) / 2 - s)
    return np.array(found)


@pytest.fixture
def learnt(load: Load) -> Learnt:
    """A model of a family, and its bases at the indirect object."""

    def make(family: str) -> tuple[LanguageModel, Result]:
        lm = load(family, **LONG)
        params = BasesParams(key_site="io", rotary="after" if family == "gpt2" else "before")
        found = run(bases, lm, read(lm, range(12)), params)
        return lm, result(found, derive(found, params))

    return make


@pytest.mark.parametrize("family", ["gemma2", "gpt2"])
def test_full_rank_changes_nothing_and_rank_zero_is_the_mean(learnt: Learnt, family: str) -> None:
    lm, basis = learnt(family)
    rotary = "after" if family == "gpt2" else "before"
    prompts = read(lm, HELD_OUT)
    params = SubspaceParams(**PARAMS, rotary=rotary)
    found = run(subspace, lm, prompts, params, inputs={"bases": basis})
    base = of(found, component=MODEL, metric="logit_diff")
    np.testing.assert_allclose(base, logit_diffs(lm, prompts, ()), atol=1e-4)
    for component in (HEAD, SET):
        full = of(found, component=component, metric="logit_diff", site="qkv", x=lm.shape.d_head)
        np.testing.assert_allclose(full, base, atol=1e-4)
    kv = 2 * lm.shape.n_kv_heads // lm.shape.n_heads
    at = tuple((where_of_io(each),) for each in prompts)
    patches = [
        Patch(
            site=Site(site),
            layer=1,
            head=2,
            value=constant(basis.tensors[f"{site}_mean"].values[1, 2 if site == "q" else kv]),
            at=None if site == "q" else at,
            before_rotary=rotary == "before" and site != "v",
        )
        for site in ("q", "k", "v")
    ]
    nothing = of(found, component=HEAD, metric="logit_diff", site="qkv")
    np.testing.assert_allclose(nothing, logit_diffs(lm, prompts, patches), atol=2e-4)
    assert np.abs(nothing - base).max() > 1e-2


def test_a_rank_between_is_a_forward_pass_with_projected_reads(learnt: Learnt) -> None:
    lm, basis = learnt("qwen2")
    prompts = read(lm, HELD_OUT)
    found = run(subspace, lm, prompts, SubspaceParams(**PARAMS), inputs={"bases": basis})
    tensors = {name: torch.from_numpy(each.values) for name, each in basis.tensors.items()}
    at = tuple((where_of_io(each),) for each in prompts)
    patches = []
    for site, index in (("q", 2), ("k", 1)):
        read_as = Subspace(
            tensors[f"{site}_mean"][1, index], tensors[f"{site}_basis"][1, index, :, :3]
        )
        patches.append(
            Patch(
                site=Site(site),
                layer=1,
                head=2,
                value=Apply(read_as),
                at=None if site == "q" else at,
                before_rotary=True,
            )
        )
    confined = of(found, component=HEAD, metric="logit_diff", site="qk", x=3)
    np.testing.assert_allclose(confined, logit_diffs(lm, prompts, patches), atol=1e-4)
    base = of(found, component=MODEL, metric="logit_diff")
    assert np.abs(confined - base).max() > 10 * 1e-4


def test_vectors_are_those_of_the_spans_and_are_grouped_by_their_tokens(load: Load) -> None:
    lm = load("llama", **LONG)
    prompts, params = read(lm, range(10)), BasesParams(key_site="s1")
    measured = run(bases, lm, prompts, params)
    recorded = lm.record(lm.batch(prompts[:8]), keep=Keep.POSITIONS)
    for row, prompt in enumerate(prompts[:8]):
        value = recorded.reads[1].value[row, :, where_of_s1(prompt)].numpy()
        np.testing.assert_array_equal(measured.tensors["v"].values[row, 1, 0], value)
    found = derive(measured, params)
    assert {key.quantity.condition for key in found.numbers} == {"by=symbol", ""}
    subjects = [prompt.labels[0] for prompt in prompts]
    firsts = [prompt.label_ids[prompt.correct[0]] for prompt in prompts]
    for site, kind, groups in (("v", Kind.KV_HEAD, subjects), ("q", Kind.HEAD, firsts)):
        points = found.tensors[f"{site}_projection"].values
        points = points[:, 0] if site == "v" else points
        x = points[:, 1, 0, 0].astype(float)
        within = sum(
            np.sum((x[members] - x[members].mean()) ** 2)
            for each in set(groups)
            for members in [[n for n, group in enumerate(groups) if group == each]]
        )
        key = ScoreKey(
            Component(kind=kind, layer=1, index=0), Quantity("explained", site, {"by": "symbol"}), 1
        )
        expected = 1 - within / np.sum((x - x.mean()) ** 2)
        assert found.numbers[key] == pytest.approx(expected, abs=1e-5)


def test_the_key_site_is_a_span_of_the_prompts(load: Load) -> None:
    (prompt,) = read(load("llama", **LONG), [0])
    for params in (BasesParams(), SubspaceParams()):
        with pytest.raises(UnknownSite, match=r"Invalid key_site 'label'.* Choose from io, s1\."):
            params.check_places(prompt.places)
    SubspaceParams(key_site="s1").check_places(prompt.places)
    assert prompt.places.at("final") == (len(prompt.input_ids) - 1,)
    ioi, questions = DistributionSpec.parse("ioi", split="test"), DistributionSpec(split="test")
    assert BasesParams.usual(ioi) == {"key_site": "io"}
    assert SubspaceParams.usual(ioi)["key_site"] == "io"
    assert "key_site" not in SubspaceParams.usual(questions)
    assert SubspaceParams().model_dump(mode="json")["key_site"] == "label"


def test_labels_are_randomised_of_questions_only(load: Load) -> None:
    shape = load("llama", **LONG).shape
    completions = DistributionSpec.parse("ioi", split="test")
    with pytest.raises(LabelsOfQuestionsOnly, match=r"'ioi' has completions.*Use 'subspace'"):
        LabelRandomisationParams().check(shape, completions)
    LabelRandomisationParams().check(shape, DistributionSpec(split="test"))
