"""Indirect object identification in SmolLM2: it does the task, and plain hooks give the numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import result, run
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses import bootstrap
from analyses.language_model import LanguageModel
from analyses.methods.attribution import AttributionParams, attribution
from analyses.methods.behaviour import BehaviourParams, behaviour
from analyses.methods.patching import PatchingParams, patching
from analyses.prompts import distributions
from analyses.prompts.distributions import CompletionDistribution, DistributionSpec
from analyses.prompts.examples import Example, examples
from analyses.prompts.pairing import pairs
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import SourceKind
from analyses.quantities import Quantity
from analyses.results import MODEL, Component, Kind, ScoreKey
from analyses.stored import OF_LOGIT_DIFF

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ioi of smollm2")]


@pytest.fixture(scope="module")
def lm(smollm2: Path) -> LanguageModel:
    return LanguageModel.load(smollm2)


def prompts(lm: LanguageModel, size: int) -> list[Example]:
    built = distributions.build(DistributionSpec.parse("ioi/swap", size=size))
    paired = {pair.base.number: pair.source for pair in pairs(built, SourceKind.PAIRED)}
    return examples(lm.tokenizer, built.prompts, {SourceKind.PAIRED: paired})


def test_it_names_the_right_person_in_all_templates(lm: LanguageModel) -> None:
    found = run(behaviour, lm, prompts(lm, 256), BehaviourParams(batch_size=64))
    answered = found.scores[ScoreKey(MODEL, Quantity("accuracy"))]
    assert answered.shape == (256,)
    assert answered.mean() >= 0.95
    templates = {
        key.quantity.varied["template"] for key in found.scores if "template" in key.quantity.varied
    }
    assert len(templates) >= 8


def test_the_strongest_heads_are_sure_of_their_sign(lm: LanguageModel) -> None:
    examples_ = prompts(lm, 64)
    found = run(attribution, lm, examples_, AttributionParams(batch_size=64))
    heads = {key: values for key, values in found.scores.items() if key.component.kind is Kind.HEAD}
    strongest = sorted(heads, key=lambda key: -abs(heads[key].mean()))[:3]
    draws = bootstrap.draw([each.item for each in examples_], seed=0)
    for each in bootstrap.statistics(np.stack([heads[key] for key in strongest]), draws):
        assert each.ci_low is not None
        assert each.ci_high is not None
        assert each.ci_low > 0 or each.ci_high < 0


def test_plain_hooks_give_the_same_effects(lm: LanguageModel, smollm2: Path) -> None:
    params = PatchingParams(source="paired", sites=("z",))
    found = result(run(patching, lm, prompts(lm, 4), params))
    total = {
        key.component: mean
        for key, mean in found.means.items()
        if key.quantity == Quantity("total_effect", "z", OF_LOGIT_DIFF)
    }
    strongest = sorted(total, key=lambda head: -abs(total[head]))[:3]
    expected = plain_effects(smollm2, strongest, size=4)
    np.testing.assert_allclose([total[head] for head in strongest], expected, atol=1e-4)


def plain_effects(folder: Path, heads: Sequence[Component], size: int) -> list[float]:
    """Mean effects of heads' outputs in the exchanged prompt, without any of our engine."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    built = distributions.build(DistributionSpec.parse("ioi/swap", size=size))
    assert isinstance(built, CompletionDistribution)
    effects = [
        [plain_effect(model, tokenizer, prompt, swapped, head) for head in heads]
        for prompt, swapped in zip(built.prompts, built.counterfactuals, strict=True)
    ]
    return [float(mean) for mean in np.mean(effects, axis=0)]


@torch.no_grad()
def plain_effect(
    model: Any, tokenizer: Any, prompt: Prompt, swapped: Prompt | None, head: Component
) -> float:
    assert swapped is not None
    (right,) = prompt.correct_labels
    (wrong,) = set(prompt.labels) - {right}
    io, s = (tokenizer.encode(f" {name}")[0] for name in (right, wrong))
    output = model.model.layers[head.layer].self_attn.o_proj
    own = slice(64 * head.index, 64 * (head.index + 1))
    seen: list[Tensor] = []

    def difference(text: str) -> float:
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1]
        return float(logits[io] - logits[s])

    def replaced(_module: object, args: tuple[Tensor]) -> tuple[Tensor]:
        changed = args[0].clone()
        changed[:, -1, own] = seen[0][:, -1, own]
        return (changed,)

    with output.register_forward_pre_hook(lambda _module, args: seen.append(args[0])):
        difference(swapped.text)
    before = difference(prompt.text)
    with output.register_forward_pre_hook(replaced):
        return difference(prompt.text) - before
