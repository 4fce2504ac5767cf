"""Replayed interventions against one full forward pass each."""

from collections.abc import Callable

import pytest
import torch
from kinds import KINDS, LENGTHS, SOURCE_LENGTHS
from reference import logits_under

from analyses.engine.interventions import (
    Intervention,
)
from analyses.engine.recording import Keep
from analyses.engine.rotary import NoRotaryEmbedding
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

TOLERANCE = 1e-4
EFFECT = 100 * TOLERANCE  # that every single intervention has at least, so that none is idle
LOUDNESS = {"cohere": 2.0, "granite": 2.0, "qwen2_moe": 2.0}  # theirs saturate before others'
WITHOUT_ROTARY = {"gpt2", "opt"}
LoadLoud = Callable[..., LanguageModel]


@pytest.fixture
def load_loud(load, random_model) -> LoadLoud:
    """Loads a model of maps so large that every component matters."""

    def load_it(family: str, **choices: object) -> LanguageModel:
        model = random_model(family, **choices)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not any(end in name for end in ("embed", "wte", "lm_head")):
                parameter.data *= LOUDNESS.get(family, 2.5)
        return load(model)

    return load_it


def some_prompts(lengths: tuple[int, ...], seed: int) -> list[TokenizedPrompt]:
    """Every token is a label, so that all logits are compared."""
    random = torch.Generator().manual_seed(seed)
    return [
        TokenizedPrompt(
            number=number,
            item="",
            input_ids=tuple(torch.randint(60, (length,), generator=random).tolist()),
            label_ids=tuple(range(60)),
            correct=0,
        )
        for number, length in enumerate(lengths)
    ]


BASE, SOURCES = some_prompts(LENGTHS, 0), some_prompts(SOURCE_LENGTHS, 1)


def replayed(lm: LanguageModel, interventions: list[Intervention], **choices) -> torch.Tensor:
    batch = lm.batch(BASE)
    recorded = lm.record(batch, keep=Keep.POSITIONS)
    source = lm.record(lm.batch(SOURCES), keep=Keep.POSITIONS)
    return lm.replay(recorded, interventions, batch.label_ids, source=source, **choices).labels


def check(lm: LanguageModel, interventions: list[Intervention], *, effect: float = EFFECT) -> None:
    slow = logits_under(lm, interventions, BASE, SOURCES)
    plain = logits_under(lm, [Intervention()], BASE)
    assert (slow - plain).abs().amax((1, 2)).min() >= effect
    torch.testing.assert_close(replayed(lm, interventions), slow, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_equals_a_forward_pass_for_each_intervention(
    load_loud, family: str, kind: str
) -> None:
    lm = load_loud(family)
    if kind == "before_rotary" and family in WITHOUT_ROTARY:
        with pytest.raises(NoRotaryEmbedding, match="Take them as attention sees them"):
            replayed(lm, KINDS[kind](lm))
    else:
        check(lm, KINDS[kind](lm))
