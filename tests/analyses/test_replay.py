"""Replayed interventions against one full forward pass each."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from kinds import BASE, KINDS, SOURCES, alone, confined
from reference import logits_under
from transformers import PreTrainedModel

from analyses.engine.interventions import Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.engine.rotary import NoRotaryEmbedding
from analyses.language_model import LanguageModel

TOLERANCE = 1e-4
EFFECT = 100 * TOLERANCE  # that every single intervention has at least, so that none is idle
LOUDNESS = {"cohere": 2.0, "granite": 2.0, "qwen2_moe": 2.0}  # theirs saturate before others'
BF16 = {  # larger logits, or bare norms
    "deepseek_v3": 0.02,
    "gemma4_text": 0.025,
    "granite": 0.02,
    "olmo": 0.02,
}
ALL_EXPERTS = {"deepseek_v3", "mixtral"}  # which ones they choose can hang on the last bit
WITHOUT_ROTARY = {"deepseek_v3", "gpt2", "opt"}  # or not by one function
LoadLoud = Callable[..., LanguageModel]


@pytest.fixture
def load_loud(shared) -> LoadLoud:
    return partial(shared, change=make_loud)


def make_loud(model: PreTrainedModel) -> None:
    """Make its maps so large that every component matters."""
    family = model.config.model_type
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and not any(end in name for end in ("embed", "wte", "lm_head")):
            parameter.data *= LOUDNESS.get(family, 2.5)
        elif family == "gemma4_text" and name.endswith("q_norm.weight"):
            parameter.data *= 0.3  # its scores are not divided by the root of d_head


def replayed(lm: LanguageModel, interventions: list[Intervention], **choices) -> torch.Tensor:
    batch = lm.batch(BASE)
    recorded = lm.record(batch, keep=Keep.POSITIONS)
    source = lm.record(lm.batch(SOURCES), keep=Keep.POSITIONS)
    return lm.replay(recorded, interventions, batch.label_ids, source=source, **choices).labels


def slow_and_plain(
    lm: LanguageModel, interventions: list[Intervention]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits under each intervention, and under none."""
    found = logits_under(lm, [*interventions, Intervention()], BASE, SOURCES)
    return found[:-1], found[-1]


def check(lm: LanguageModel, interventions: list[Intervention], *, effect: float = EFFECT) -> None:
    slow, plain = slow_and_plain(lm, interventions)
    assert (slow - plain).abs().amax((1, 2)).min() >= effect
    torch.testing.assert_close(replayed(lm, interventions), slow, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_equals_a_forward_pass_for_each_intervention(
    load_loud, family: str, kind: str
) -> None:
    lm = load_loud(family)
    if kind == "before_rotary" and family in WITHOUT_ROTARY:
        with pytest.raises(NoRotaryEmbedding, match="Use those after it"):
            replayed(lm, KINDS[kind](lm))
    else:
        check(lm, KINDS[kind](lm))


@pytest.mark.parametrize("family", ["cohere", "gemma2", "llama"])
def test_the_sum_over_the_whole_vocabulary_is_that_of_a_forward_pass(
    load_loud, family: str
) -> None:
    """With logit multipliers, and with a soft-cap."""
    lm = load_loud(family)
    interventions = KINDS["heads"](lm)
    batch = lm.batch(BASE)
    found = lm.replay(
        lm.record(batch, keep=Keep.PREFIX),
        interventions,
        batch.label_ids,
        source=lm.record(lm.batch(SOURCES)),
        whole_vocabulary=True,
    )
    slow = logits_under(lm, interventions, BASE, SOURCES)
    assert found.logsumexp is not None
    torch.testing.assert_close(found.logsumexp, slow.logsumexp(-1), atol=TOLERANCE, rtol=0)


def check_in_half_precision(lm: LanguageModel, *, tolerance: float) -> None:
    """The root mean square of the errors over all logits, and the largest effect beside it.

    Both sides round every activation, at other batch sizes, so a few logits stray further.
    """
    interventions = [
        each for kind in ("heads", "writes", "ablations", "elsewhere") for each in KINDS[kind](lm)
    ]
    slow, plain = slow_and_plain(lm, interventions)
    error = replayed(lm, interventions) - slow
    assert error.square().mean().sqrt() <= tolerance
    assert error.abs().max() <= 10 * tolerance
    assert (slow - plain).abs().max() >= 100 * tolerance


def test_bf16_is_exact_to_its_rounding(load_loud, family: str) -> None:
    choices = {"num_experts_per_tok": 4} if family in ALL_EXPERTS else {}
    lm = load_loud(family, dtype="bfloat16", **choices)
    check_in_half_precision(lm, tolerance=BF16.get(family, 0.012))


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_oss", "llama", "olmo2", "qwen2_moe"])
def test_fp16_is_exact_to_its_rounding(load_loud, family: str) -> None:
    check_in_half_precision(load_loud(family, dtype="float16"), tolerance=0.0015)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_unembeddings_are_exact(load_loud, tied: bool) -> None:
    lm = load_loud("qwen2", tie_word_embeddings=tied)
    check(lm, KINDS["heads"](lm))


def test_a_residual_that_is_normed_in_parallel_or_not_is_exact(load_loud) -> None:
    lm = load_loud("gpt_neox", use_parallel_residual=False)
    check(lm, KINDS["writes"](lm))


@pytest.mark.slow
def test_smollm2_is_exact(loaded_smollm2) -> None:
    lm = loaded_smollm2
    some = [(2, 3), (17, 8), (29, 0)]
    low = confined(lm.shape.d_head, 8)
    interventions = [
        *alone(*(Patch(site=Site.Z, layer=layer, head=head) for layer, head in some)),
        *alone(*(Patch(site=Site.MLP_OUT, layer=layer) for layer, _ in some)),
        *alone(
            *(
                Patch(site=site, layer=layer, head=head, value=low, before_rotary=True)
                for layer, head in some[:2]
                for site in (Site.Q, Site.K, Site.V)
            )
        ),
        *alone(
            *(Patch(site=Site.ATTN_OUT, layer=layer, at=((3, 10), (2, 4))) for layer, _ in some)
        ),
    ]
    base = [replace(prompt, label_ids=(330, 378, 340)) for prompt in BASE[:2]]
    batch = lm.batch(base)
    found = lm.replay(
        lm.record(batch, keep=Keep.POSITIONS),
        interventions,
        batch.label_ids,
        source=lm.record(lm.batch(SOURCES[:2]), keep=Keep.POSITIONS),
        whole_vocabulary=True,
    )
    slow = logits_under(lm, [*interventions, Intervention()], base, SOURCES[:2])
    slow, plain = slow[:-1], slow[-1]
    assert (slow - plain).abs().amax((1, 2)).min() > EFFECT
    assert found.logsumexp is not None
    torch.testing.assert_close(found.labels, slow[..., [330, 378, 340]], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(found.logsumexp, slow.logsumexp(-1), atol=TOLERANCE, rtol=0)
