"""Continuations of contexts, against one plain forward pass for each."""

import pytest
import torch
from torch.testing import assert_close

from analyses.engine.continuations import mean_log_probs

PAIRS = [((3, 1, 4), (1, 5)), ((9,), (2, 6, 5, 3)), ((5, 8, 9, 7, 9), (3,)), ((3, 1, 4), (15,))]


@pytest.mark.parametrize("family", ["cohere", "gemma2", "gpt2", "llama"])
def test_a_mean_is_that_of_its_tokens_log_probabilities(load, family: str) -> None:
    lm = load(family)
    found = mean_log_probs(lm.model, lm.anatomy, PAIRS)
    for (context, continuation), one in zip(PAIRS, found, strict=True):
        with torch.no_grad():
            logits = lm.model(torch.tensor([[*context, *continuation]]), use_cache=False).logits[0]
        log_probs = logits.float().log_softmax(-1)
        by_hand = [
            log_probs[len(context) + place - 1, token] for place, token in enumerate(continuation)
        ]
        assert_close(one, torch.stack(by_hand).mean(), atol=1e-5, rtol=1e-5)


def test_a_continuation_does_not_depend_on_its_neighbours(load) -> None:
    lm = load("llama")
    together = mean_log_probs(lm.model, lm.anatomy, PAIRS)
    alone = [mean_log_probs(lm.model, lm.anatomy, [pair])[0] for pair in PAIRS]
    assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)
