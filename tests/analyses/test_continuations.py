"""Continuations of contexts, against one plain forward pass for each."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from analyses.engine import continuations

PAIRS = [((3, 1, 4), (1, 5)), ((9,), (2, 6, 5, 3)), ((5, 8, 9, 7, 9), (3,)), ((3, 1, 4), (15,))]


@pytest.mark.parametrize("family", ["cohere", "gemma2", "gpt2", "llama"])
def test_a_mean_is_that_of_its_tokens_log_probabilities(shared, family: str) -> None:
    lm = shared(family)
    found = lm.mean_log_probs(PAIRS)
    for (context, continuation), one in zip(PAIRS, found, strict=True):
        with torch.no_grad():
            logits = lm.model(torch.tensor([[*context, *continuation]]), use_cache=False).logits[0]
        log_probs = logits.float().log_softmax(-1)
        by_hand = [
            log_probs[len(context) + place - 1, token] for place, token in enumerate(continuation)
        ]
        assert_close(one, torch.stack(by_hand).mean(), atol=1e-5, rtol=1e-5)


def test_a_continuation_does_not_depend_on_its_neighbours(shared) -> None:
    lm = shared("llama")
    together = lm.mean_log_probs(PAIRS)
    alone = [lm.mean_log_probs([pair])[0] for pair in PAIRS]
    assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_a_small_budget_only_cuts_the_work(shared, monkeypatch) -> None:
    lm = shared("gemma2")
    cuts = []
    whole = continuations._mean_log_probs
    monkeypatch.setattr(
        continuations,
        "_mean_log_probs",
        lambda model, anatomy, some, budget: (
            cuts.append(len(some)) or whole(model, anatomy, some, budget)
        ),
    )
    little = replace(lm, memory_budget=1).mean_log_probs(PAIRS)
    plenty = lm.mean_log_probs(PAIRS)
    assert cuts == [1, 1, 1, 1, 4]
    assert_close(little, plenty, atol=1e-5, rtol=1e-5)
    assert lm.mean_log_probs([]).shape == (0,)
