"""Completions that are known are those whose likeliest candidate is a correct one."""

import numpy as np
import pytest
from completed import read_completions
from studied import model_of

from analyses import knowledge
from analyses.methods.behaviour import BehaviourParams, behaviour
from analyses.quantities import Quantity
from analyses.results import MODEL, ScoreKey


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_known_means_answered_correctly(load, family: str) -> None:
    lm = model_of(load, family)
    made = read_completions(lm)
    batch = lm.batch(made)
    logits = lm.record(batch).logits.gather(1, batch.label_ids)
    likeliest = logits.argmax(-1).tolist()
    right = np.array([best in each.correct for best, each in zip(likeliest, made, strict=True)])
    np.testing.assert_array_equal(knowledge.content_accuracy(lm, made, batch_size=2), right)
    whole = behaviour(lm, made, BehaviourParams(), lambda done: None).scores
    accuracy = whole[ScoreKey(MODEL, Quantity("accuracy"))]
    np.testing.assert_array_equal(accuracy, right)
    params = BehaviourParams(prompts="known", batch_size=2)
    found = knowledge.measured(behaviour, lm, made, params, lambda done: None).scores
    kept = found[ScoreKey(MODEL, Quantity("loss"))]
    np.testing.assert_array_equal(np.isnan(kept), ~right)


def test_each_prompt_is_read_once_and_known_is_the_accuracy_that_the_run_reports(load) -> None:
    lm = model_of(load, "llama")
    made = read_completions(lm)
    rows: list[int] = []
    embedding = lm.model.get_input_embeddings()
    with embedding.register_forward_pre_hook(lambda _, args: rows.append(len(args[0]))):
        known = knowledge.content_accuracy(lm, made, batch_size=2)
    assert sum(rows) == len(made)
    reported = behaviour(lm, made, BehaviourParams(batch_size=2), lambda done: None).scores
    np.testing.assert_array_equal(known, reported[ScoreKey(MODEL, Quantity("accuracy"))])
