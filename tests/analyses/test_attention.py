"""Where heads look, against counting by hand, plain passes, and a model whose heads are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import Pass

from analyses import knowledge
from analyses.engine.interventions import Site
from analyses.language_model import LanguageModel
from analyses.methods.attention import AttentionParams, attention
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import examples
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, ScoreKey

PARTING = ("labels", "brackets", "contents", "ends", "question", "last", "rest")
GOLDEN = {
    ("weight", "labels"): [0.023066, 0.023152],
    ("weight", "brackets"): [0.015735, 0.016206],
    ("weight", "contents"): [0.088578, 0.120613],
    ("weight", "ends"): [0.015281, 0.015505],
    ("weight", "question"): [0.341208, 0.274143],
    ("weight", "last"): [0.018063, 0.021859],
    ("weight", "rest"): [0.498068, 0.528523],
    ("weight", "correct_label"): [0.005982, 0.006314],
    ("weight", "label_2"): [0.003989, 0.004757],
    ("value_weighted", "correct_label"): [0.006652, 0.004486],
    ("entropy", None): [5.269586, 5.162063],
}
LARGE = {"vocab_size": 300, "max_position_embeddings": 512, "n_positions": 512}


def made_for(lm: LanguageModel, size: int, data: str = "colours", **fields: object):
    built = distributions.build(DistributionSpec.parse(data, size=size, **fields))
    return examples(lm.tokenizer, built.prompts)


@pytest.fixture
def ground(load):
    """A small random model, and prompts of unequal lengths."""

    def make(family: str, size: int = 5, **choices: object):
        lm = load(family, **LARGE | choices)
        return lm, made_for(lm, size)

    return make


def measured(lm, made, **choices):
    return attention(lm, made, AttentionParams(**choices), lambda done: None)


def head(layer: int, index: int) -> Component:
    return Component(kind=Kind.HEAD, layer=layer, index=index)


def score(found, component: Component, metric: str, group: str | None = None) -> np.ndarray:
    condition = "" if group is None else f"keys={group}"
    return found.scores[ScoreKey(component, Quantity(metric, varied=Varied.read(condition)))]


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama", "mistral"])
def test_the_groups_that_part_the_tokens_add_up_to_the_whole_row(ground, family: str) -> None:
    lm, made = ground(family)
    found = measured(lm, made)
    for layer in range(2):
        for index in range(4):
            parts = [score(found, head(layer, index), "weight", group) for group in PARTING]
            np.testing.assert_allclose(np.sum(parts, axis=0), 1, atol=1e-5)


def test_what_a_sink_takes_belongs_to_no_group(ground) -> None:
    """Without queries every key has the score 0, so each gets 1 / (n + e^sink)."""
    lm, made = ground("gpt_oss", layer_types=["full_attention"] * 2)
    sinks = torch.tensor([-1.0, 0.0, 2.0, 4.0])
    for layer in lm.model.model.layers:
        layer.self_attn.q_proj.weight.zero_()
        layer.self_attn.q_proj.bias.zero_()
        layer.self_attn.sinks.copy_(sinks)
    found = measured(lm, made)
    lengths = np.array([len(prompt.input_ids) for prompt in made])
    for index, sink in enumerate(sinks.exp().tolist()):
        each = 1 / (lengths + sink)
        parts = [score(found, head(1, index), "weight", group) for group in PARTING]
        np.testing.assert_allclose(np.sum(parts, axis=0), lengths * each, atol=1e-5)
        of_sink = sink * each
        entropy = -lengths * each * np.log(each) - of_sink * np.log(of_sink)
        np.testing.assert_allclose(score(found, head(1, index), "entropy"), entropy, atol=1e-4)


def test_a_head_without_queries_looks_evenly_and_is_counted_by_hand(ground) -> None:
    """Values are their biases, (3, 4, 0 …) and (5, 12, 0 …); head h writes h + 1 times them."""
    lm, made = ground("qwen2")
    layer = lm.model.model.layers[1].self_attn
    for parameter in (layer.q_proj.weight, layer.q_proj.bias, layer.v_proj.weight):
        parameter.zero_()
    layer.v_proj.bias.copy_(torch.tensor([3.0, 4, *[0] * 6, 5, 12, *[0] * 6]))
    W_O = torch.cat([(index + 1) * torch.eye(8, 32) for index in range(4)])
    layer.o_proj.weight.copy_(W_O.T)
    found = measured(lm, made)
    lengths = np.array([len(prompt.input_ids) for prompt in made])
    sizes = [5.0, 10.0, 39.0, 52.0]  # heads 0 and 1 share the first value, 2 and 3 the second
    for group in ("correct_label", "other_labels", "label_3", "labels", "contents", "last"):
        count = np.array([len(each.places.key_groups(each.correct)[group]) for each in made])
        for index, size in enumerate(sizes):
            weight = score(found, head(1, index), "weight", group)
            np.testing.assert_allclose(weight, count / lengths, atol=1e-6)
            sized = score(found, head(1, index), "value_weighted", group)
            np.testing.assert_allclose(sized, size * count / lengths, rtol=1e-5)
    for index in range(4):
        np.testing.assert_allclose(
            score(found, head(1, index), "entropy"), np.log(lengths), atol=1e-5
        )


@pytest.mark.parametrize("family", ["gemma2", "gpt2"])
def test_scores_are_sums_over_stored_rows_and_values_of_a_plain_pass(ground, family: str) -> None:
    lm, made = ground(family)
    found = measured(lm, made, batch_size=2)
    rows = found.tensors["rows"]
    assert rows.axes == ("prompt", "component", "key")
    assert rows.coordinates["component"] == tuple(
        head(layer, index).label for layer in range(2) for index in range(4)
    )
    assert rows.values.dtype == np.float32
    assert rows.values.shape == (5, 8, max(len(each.input_ids) for each in made))
    for number, prompt in enumerate(made):
        length = len(prompt.input_ids)
        groups = prompt.places.key_groups(prompt.correct)
        plain = Pass(lm, prompt.input_ids, 0)
        for place in range(8):
            layer, index = divmod(place, 4)
            row = rows.values[number, place]
            assert np.isnan(row[length:]).all()
            values = plain.seen[Site.V, layer]
            W_O = lm.anatomy.layers[layer].W_O.view(4, -1, 32)[index]
            sizes = (values[:, index * values.shape[1] // 4] @ W_O).norm(dim=-1).numpy()
            for group, tokens in groups.items():
                keys = sorted(tokens)
                weight = score(found, head(layer, index), "weight", group)[number]
                assert weight == pytest.approx(row[keys].sum(), abs=1e-6)
                sized = score(found, head(layer, index), "value_weighted", group)[number]
                assert sized == pytest.approx(row[keys] @ sizes[keys], rel=1e-4, abs=1e-6)


def test_the_numbers_of_version_1(ground) -> None:
    """Where these change, the analysis needs a new version."""
    lm, made = ground("llama", size=2)
    found = measured(lm, made)
    numbers = {
        what: pytest.approx(score(found, head(1, 3), *what).tolist(), abs=1e-5) for what in GOLDEN
    }
    assert numbers == GOLDEN


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_one_part_or_three_give_bit_equal_numbers(ground, family: str) -> None:
    lm, made = ground(family, size=10)
    whole = measured(lm, made, batch_size=3)
    parts = [
        measured(lm, made[start:stop], batch_size=3) for start, stop in ((0, 3), (3, 9), (9, 10))
    ]
    for key, vector in whole.scores.items():
        joined = np.concatenate([part.scores[key] for part in parts])
        np.testing.assert_array_equal(joined, vector)
    rows = whole.tensors["rows"].values
    start = 0
    for part in parts:
        of_part = part.tensors["rows"].values
        here = rows[start : start + len(of_part)]
        np.testing.assert_array_equal(here[..., : of_part.shape[2]], of_part)
        assert np.isnan(here[..., of_part.shape[2] :]).all()
        start += len(of_part)


def test_scores_do_not_depend_on_padding(ground) -> None:
    lm, made = ground("gpt2")
    one, other = (measured(lm, made, batch_size=size) for size in (1, 8))
    for key, vector in one.scores.items():
        np.testing.assert_allclose(vector, other.scores[key], atol=1e-4)
    first, second = (each.tensors["rows"].values for each in (one, other))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_every_score_is_one_finite_float_per_prompt_and_rows_may_be_left_out(ground) -> None:
    lm, made = ground("llama")
    found = measured(lm, made, keep_rows=False)
    assert not found.tensors
    assert {vector.dtype for vector in found.scores.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(v).all() and v.shape == (5,) for v in found.scores.values())
    of_model = {key.quantity.metric for key in found.scores if key.component == MODEL}
    assert of_model == {"logit_diff", "accuracy", "label_loss", "label_mass", "loss", "prob_diff"}
    of_head = [key for key in found.scores if key.component == head(0, 0)]
    assert len(of_head) == 1 + 2 * (len(PARTING) + 3 + 4)


def test_prompts_that_are_not_known_have_no_rows(ground) -> None:
    lm, made = ground("llama", size=12)
    params = AttentionParams(prompts="known", batch_size=4)
    found = knowledge.measured(attention, lm, made, params, lambda done: None)
    known = found.scores[knowledge.KNOWN] == 1
    assert 0 < known.sum() < 12
    weight = score(found, head(1, 2), "weight", "labels")
    np.testing.assert_array_equal(np.isnan(weight), ~known)
    rows = found.tensors["rows"].values
    assert len(rows) == 12
    np.testing.assert_array_equal(np.isnan(rows).all(axis=(1, 2)), ~known)


def test_progress_is_told_and_may_stop_the_work(ground) -> None:
    lm, made = ground("llama")
    told = []

    def stop_at_four(done: int) -> None:
        told.append(done)
        if done >= 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        attention(lm, made, AttentionParams(batch_size=2), stop_at_four)
    assert told == [2, 4]


def test_a_little_memory_changes_nothing_but_rounding(ground) -> None:
    lm, made = ground("gemma2")
    plenty, little = measured(lm, made), measured(replace(lm, memory_budget=1), made)
    for key, vector in plenty.scores.items():
        np.testing.assert_allclose(vector, little.scores[key], atol=1e-4)


def test_the_shipped_model_has_heads_that_find_the_correct_label_wherever_it_is(loaded) -> None:
    lm = LanguageModel.load("mcq-small")
    loaded.append(lm)
    made = made_for(lm, 32, split="test")
    found = measured(lm, made)
    finders = [
        key.component
        for key, vector in found.scores.items()
        if (key.quantity.metric, key.quantity.condition) == ("weight", "keys=correct_label")
        and vector.mean() > 0.9
    ]
    assert finders
    for each in finders:
        assert each.layer == lm.shape.n_layers - 1
        for place in range(4):
            at_it = np.array([prompt.correct == (place,) for prompt in made])
            weight = score(found, each, "weight", f"label_{place}")
            assert weight[at_it].min() > 0.5
            assert weight[~at_it].max() < 0.5
