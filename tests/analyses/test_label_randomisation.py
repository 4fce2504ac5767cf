"""Heads confined to what they read of other labels, and position against symbol."""

import numpy as np
import pytest
from reference import logits_under
from studied import LONG, assert_same, in_parts, model_of, of, read_for, result, run

from analyses.confined import SET, RankTooLarge
from analyses.engine.interventions import SOURCE, Intervention, Patch, Site
from analyses.methods import subspace as sweep
from analyses.methods.bases import BasesParams, bases, derive
from analyses.methods.label_randomisation import (
    INTERCHANGE,
    LabelRandomisationParams,
    label_randomisation,
)
from analyses.prompts.mutations import Mutation
from analyses.prompts.sources import SourceKind
from analyses.prompts.spec import DistributionSpec
from analyses.results import MODEL, Component, Kind

HEADS = ("0.1", "1.2")
D_HEAD = {"gemma2": 16, "gpt2": 8}  # of the families' small models
UNREADABLE = {Mutation.SYMBOLS, Mutation.OTHER_SEPARATORS}  # by the small tokenizer
READABLE = [each for each in Mutation if each not in UNREADABLE]


@pytest.fixture
def told(shared):
    """A family's model, held-out prompts beside their mutations, parameters, learnt bases."""

    def make(family: str, **choices: object):
        lm = model_of(shared, family)
        rotary = "after" if family == "gpt2" else "before"
        params = LabelRandomisationParams(
            **{"heads": HEADS, "rotary": rotary, "batch_size": 2, **choices}
        )
        learn = BasesParams(rotary=rotary)
        learnt = run(bases, lm, read_for(lm, size=10, split="train"), learn)
        prompts = read_for(lm, size=6, kinds=params.companions)
        return lm, prompts, params, {"bases": result(learnt, derive(learnt, learn))}

    return make


def test_unchanged_prompts_are_those_of_the_rank_sweep(told) -> None:
    lm, prompts, params, inputs = told("llama", rank=2, mutations=["shuffled"])
    found = run(label_randomisation, lm, prompts, params, inputs=inputs)
    params = sweep.SubspaceParams(heads=HEADS, ranks=(2,), batch_size=2)
    swept = run(sweep.subspace, lm, prompts, params, inputs=inputs)
    same = {"component": SET, "site": "qk"}
    unchanged = {"condition": "mutation=none"}
    confined = of(found, metric="logit_diff", **same, **unchanged)
    np.testing.assert_allclose(confined, of(swept, metric="logit_diff", **same, x=2), atol=1e-5)
    whole = of(found, component=MODEL, metric="logit_diff", **unchanged)
    dropped = of(found, metric="logit_diff_drop", **same, **unchanged)
    np.testing.assert_allclose(dropped, whole - confined, atol=1e-6)


@pytest.mark.parametrize("family", D_HEAD)
def test_a_mutation_is_measured_by_its_own_labels(told, family: str) -> None:
    lm, prompts, params, inputs = told(family, rank=D_HEAD[family], mutations=READABLE)
    found = run(label_randomisation, lm, prompts, params, inputs=inputs)
    for mutation in READABLE:
        batch = lm.batch([each.companions[mutation] for each in prompts])
        logits = lm.record(batch).logits.gather(1, batch.label_ids)
        right = (logits.argmax(-1) == batch.correct.float().argmax(-1)).float().numpy()
        told_so = {"condition": f"mutation={mutation.value}"}
        accuracy = of(found, component=MODEL, metric="accuracy", **told_so)
        np.testing.assert_array_equal(accuracy, right)
        drop = of(found, component=SET, metric="logit_diff_drop", site="qk", **told_so)
        np.testing.assert_allclose(drop, 0, atol=1e-4)  # all dimensions lose nothing


@pytest.mark.parametrize("family", ["llama", "qwen2", "mcq-small"])
def test_an_answer_follows_what_a_forward_pass_says(told, family: str) -> None:
    lm, prompts, params, inputs = told(family, mutations=["shuffled"])
    found = run(label_randomisation, lm, prompts, params, inputs=inputs)
    sources = [each.companions[SourceKind.POSITION_SYMBOL] for each in prompts]
    head = Component(kind=Kind.HEAD, layer=1, index=2)
    for site in ("q", "z"):
        patch = Patch(site=Site(site), layer=1, head=2, value=SOURCE, before_rotary=site == "q")
        (logits,) = logits_under(lm, [Intervention((patch,))], prompts, sources)
        for row, (base, source) in enumerate(zip(prompts, sources, strict=True)):
            answer = logits[row, list(base.label_ids)].argmax().item()
            expected = {
                "follows_position": (answer,) == source.correct,
                "follows_symbol": (base.labels[answer],)
                == tuple(source.labels[index] for index in source.correct),
                "stays": (answer,) == base.correct,
            }
            for metric, value in expected.items():
                key = {"component": head, "metric": metric, "site": site}
                assert of(found, **key, condition=INTERCHANGE.text)[row] == value
    sites = {key.quantity.site for key in found.scores if key.quantity.varied == INTERCHANGE}
    assert sites == {"", "q", "k", "z"}


def test_numbers_do_not_depend_on_how_a_run_is_cut(told) -> None:
    lm, prompts, params, inputs = told("llama", mutations=READABLE)
    whole = run(label_randomisation, lm, prompts, params, inputs=inputs)
    assert_same(whole, in_parts(label_randomisation, lm, prompts, params, 3, inputs=inputs))


def test_a_rank_beyond_the_heads_is_refused(shared) -> None:
    lm = shared("llama", **LONG)
    with pytest.raises(RankTooLarge, match="No rank 9"):
        LabelRandomisationParams(rank=9).check(lm.shape, DistributionSpec(split="test"))
