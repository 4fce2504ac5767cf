"""Means over prompts, and ablation with them."""

from typing import Any

import pytest
import torch
from reference import logits_under
from torch.testing import assert_close

from analyses.engine.interventions import (
    Apply,
    ImpossiblePatch,
    Intervention,
    Patch,
    Site,
    Subspace,
)
from analyses.engine.recording import Keep
from analyses.engine.statistics import SITES, Means

LENGTHS = (9, 4, 12, 7, 7)


@pytest.fixture
def recordings(shared, prompts):
    """A model, its prompts, and recordings of them two by two."""

    def make(family: str, together: int = 2):
        lm = shared(family)
        made = prompts(LENGTHS)
        pairs = [made[first : first + together] for first in range(0, len(made), together)]
        return lm, made, [lm.record(lm.batch(pair), keep=Keep.PREFIX) for pair in pairs]

    return make


def test_a_mean_is_that_over_all_prompts_however_they_are_batched(recordings) -> None:
    lm, made, by_two = recordings("llama")
    means = Means.of(by_two)
    assert means.prompts == len(made)
    for site in SITES:
        alone = [lm.record(lm.batch([prompt])).at_final(site, 1)[0] for prompt in made]
        assert_close(means.values[site][1], torch.stack(alone).mean(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "granite"])
def test_a_mean_ablation_equals_a_forward_pass_with_the_mean(recordings, family: str) -> None:
    """Also where writes are scaled by a residual multiplier and normed after attention."""
    lm, made, by_two = recordings(family)
    means = Means.of(by_two)
    interventions = [
        Intervention((means.patch(Site.Z, 0, 2),)),
        Intervention((means.patch(Site.ATTN_OUT, 0), means.patch(Site.MLP_OUT, 1))),
    ]
    slow = logits_under(lm, [*interventions, Intervention()], made)
    assert (slow[:-1] - slow[-1]).abs().amax((1, 2)).min() > 1e-2
    batch = lm.batch(made)
    recorded = lm.record(batch, keep=Keep.PREFIX)
    found = lm.replay(recorded, interventions, batch.label_ids).labels
    assert_close(found, slow[:-1, :, [5, 6, 7, 8]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_rank_zero_around_the_mean_equals_mean_ablation(recordings, family: str) -> None:
    lm, made, by_two = recordings(family)
    ablated: Any = Means.of(by_two).patch(Site.Z, 0, 1)
    d_head = lm.shape.d_head
    rank_zero = Apply(Subspace(ablated.value.value, torch.zeros(d_head, 0)))
    both = [ablated, Patch(site=Site.Z, layer=0, head=1, value=rank_zero)]
    batch = lm.batch(made)
    recorded = lm.record(batch, keep=Keep.PREFIX)
    mean, projected = lm.replay(
        recorded, [Intervention((p,)) for p in both], batch.label_ids
    ).labels
    assert_close(mean, projected, atol=1e-6, rtol=1e-6)


def test_there_are_no_means_of_what_is_read(recordings) -> None:
    _, _, by_two = recordings("llama")
    with pytest.raises(ImpossiblePatch, match="means exist only of what components write"):
        Means.of(by_two).patch(Site.K, 0, 0)
