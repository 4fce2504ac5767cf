"""Behaviour, attention and attribution of completions, against counting and plain passes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from persons import PERSONS, read
from studied import LONG, of, run

from analyses import knowledge
from analyses.language_model import LanguageModel
from analyses.methods.attention import STORES, AttentionParams, UnequalSpans, attention
from analyses.methods.attribution import AttributionParams, attribution
from analyses.methods.behaviour import STORES as OF_BEHAVIOUR
from analyses.methods.behaviour import BehaviourParams, behaviour
from analyses.prompts.completion_places import CompletionPlaces
from analyses.prompts.examples import Example
from analyses.quantities import Quantity
from analyses.results import MODEL, Component, Kind, ScoreKey

Load = Callable[..., LanguageModel]


def plain_logits(lm: LanguageModel, prompt: Example) -> torch.Tensor:
    """What the model itself says after the prompt."""
    with torch.no_grad():
        logits: torch.Tensor = lm.model(torch.tensor([prompt.input_ids])).logits
    return logits[0, -1].double()


def head(layer: int, index: int) -> Component:
    return Component(kind=Kind.HEAD, layer=layer, index=index)


def test_answers_are_broken_down_by_the_groups_of_the_items(load: Load) -> None:
    lm = load("llama", **LONG)
    prompts = read(lm, range(6))
    found = run(behaviour, lm, prompts, BehaviourParams(batch_size=3))
    logits = [plain_logits(lm, each)[list(each.label_ids)] for each in prompts]
    right = [
        float(each.argmax() in prompt.correct)
        for each, prompt in zip(logits, prompts, strict=False)
    ]
    assert set(right) == {0.0, 1.0}
    np.testing.assert_array_equal(of(found, component=MODEL, metric="accuracy"), right)
    for name, first in (("met", 0), ("then", 1)):
        key = ScoreKey(MODEL, Quantity("accuracy", varied={"template": name}))
        np.testing.assert_array_equal(found.scores[key][first::2], right[first::2])
        assert found.skipped[key].tolist() == [n % 2 != first for n in range(6)]
    assert "content_accuracy" not in {key.quantity.metric for key in found.scores}
    assert [key for key in found.scores if not any(key in said for said in OF_BEHAVIOUR)] == []
    unknown = ScoreKey(MODEL, Quantity("accuracy", varied={"template": "met", "order": "ABBA"}))
    assert not any(unknown in said for said in OF_BEHAVIOUR)


def test_an_answer_is_known_where_it_is_given(load: Load) -> None:
    lm = load("llama", **LONG)
    prompts = read(lm, range(8))
    right = of(run(behaviour, lm, prompts, BehaviourParams()), component=MODEL, metric="accuracy")
    params = AttributionParams(prompts="known")
    found = knowledge.measured(attribution, lm, prompts, params, lambda done: None)
    np.testing.assert_array_equal(found.scores[knowledge.KNOWN], right)
    assert 0 < right.sum() < 8
    left_out = np.isnan(of(found, component=MODEL, metric="logit_diff_pre_cap"))
    np.testing.assert_array_equal(left_out, right == 0)


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama"])
def test_spans_last_and_rest_add_up_to_the_whole_row(load: Load, family: str) -> None:
    lm = load(family, **LONG)
    found = run(attention, lm, read(lm, range(4)), AttentionParams())
    for index in range(4):
        parts = [
            of(found, component=head(1, index), metric="weight", condition=f"keys={group}")
            for group in ("io", "s1", "last", "rest")
        ]
        np.testing.assert_allclose(np.sum(parts, axis=0), 1, atol=1e-5)
    assert [key for key in found.scores if not any(key in said for said in STORES)] == []


def test_a_head_that_looks_evenly_is_counted_by_hand(load: Load) -> None:
    """Without queries every token of the text gets the same weight."""
    lm = load("qwen2", **LONG)
    query = lm.model.model.layers[1].self_attn.q_proj
    query.weight.data.zero_()
    query.bias.data.zero_()
    prompts = read(lm, range(2))
    found = run(attention, lm, prompts, AttentionParams())
    after = len(" met. K saw "), len(" had left, found ")  # bytes after the last span
    for number, prompt in enumerate(prompts):
        n = len(prompt.input_ids)
        io, s1, correct, others, last = (
            of(found, component=head(1, 2), metric="weight", condition=f"keys={group}")[number] * n
            for group in ("io", "s1", "correct_label", "other_labels", "last")
        )
        assert [io, s1, correct, others] == pytest.approx([1, 1, 1, 1], abs=1e-4)
        ids = prompt.input_ids
        tail = [lm.tokenizer.decode([each]) for each in ids[-round(last) :]]
        assert sum(map(len, tail)) == after[number]
        assert all(name not in PERSONS for name in tail[:2])


def test_attention_needs_the_same_spans_in_every_prompt(load: Load) -> None:
    lm = load("llama", **LONG)
    one, other = (each.places for each in read(lm, range(2)))
    AttentionParams().check_prompts(lm.shape, [one, other])
    assert isinstance(other, CompletionPlaces)
    fewer = replace(other, spans={"io": other.spans["io"]})
    with pytest.raises(UnequalSpans, match=r"prompt 0 has io, s1, prompt 1 io\."):
        AttentionParams().check_prompts(lm.shape, [one, fewer])


@pytest.mark.parametrize("family", ["gemma2", "llama"])
def test_attribution_closes_to_the_logits_of_several_correct_candidates(
    load: Load, family: str
) -> None:
    lm = load(family, **LONG)
    prompts = read(lm, range(3))
    found = run(attribution, lm, prompts, AttributionParams())
    cap = getattr(lm.model.config, "final_logit_softcapping", None)
    expected = []
    for prompt in prompts:
        assert len(prompt.correct) == 2
        logits = plain_logits(lm, prompt)
        logits = cap * torch.atanh(logits / cap) if cap else logits
        s, io, third = logits[list(prompt.label_ids)].tolist()
        expected.append((io + third) / 2 - s)
    shares = [
        values for key, values in found.scores.items() if key.quantity.metric == "logit_attribution"
    ]
    np.testing.assert_allclose(np.sum(shares, axis=0), expected, atol=1e-3)
    closed = of(found, component=MODEL, metric="logit_diff_pre_cap")
    np.testing.assert_allclose(closed, expected, atol=1e-3)
