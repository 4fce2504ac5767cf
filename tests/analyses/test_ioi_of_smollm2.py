"""Indirect object identification in SmolLM2: it does the task, and plain hooks give the numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import run
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
from analyses.prompts.prompt import CompletionPrompt
from analyses.prompts.sources import SourceKind
from analyses.quantities import Quantity
from analyses.results import MODEL, Component, Kind, ScoreKey
from analyses.stored import OF_LOGIT_DIFF

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ioi of smollm2")]


@pytest.fixture(scope="module")
def lm(smollm2: Path) -> LanguageModel:
    return LanguageModel.load(smollm2)


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    return AutoTokenizer.from_pretrained(smollm2)


def prompts(lm: LanguageModel, size: int, data: str = "ioi/swap", **fields: str) -> list[Example]:
    built = distributions.build(DistributionSpec.parse(data, size=size, **fields))
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


def test_the_strongest_heads_are_sure_of_their_sign_and_those_of_the_page(
    lm: LanguageModel,
) -> None:
    page = json.loads((ROOT / "docs" / "findings-ioi.json").read_text())
    examples_ = prompts(lm, 64, split="train")
    found = run(attribution, lm, examples_, AttributionParams(batch_size=64))
    heads = {key: values for key, values in found.scores.items() if key.component.kind is Kind.HEAD}
    strongest = sorted(heads, key=lambda key: -abs(heads[key].mean()))[:3]
    for name, of in page["looks"].items():
        layer, index = map(int, name.split("."))
        key = ScoreKey(
            Component(kind=Kind.HEAD, layer=layer, index=index), Quantity("logit_attribution")
        )
        assert heads[key].mean() == pytest.approx(of["logit_attribution"]["mean"], abs=1e-3)
    assert {f"{key.component.layer}.{key.component.index}" for key in strongest} < set(
        page["looks"]
    )
    draws = bootstrap.draw([each.item for each in examples_], seed=0)
    for each in bootstrap.statistics(np.stack([heads[key] for key in strongest]), draws):
        assert each.ci_low is not None
        assert each.ci_high is not None
        assert each.ci_low > 0 or each.ci_high < 0


@pytest.mark.parametrize(
    ("data", "positions", "size"),
    [("ioi/swap", "final", 4), ("ioi/swap", "s2", 2), ("greater_than_digits", "final", 2)],
)
def test_plain_hooks_give_the_same_effects(
    lm: LanguageModel, model: Any, tokenizer: Any, data: str, positions: str, size: int
) -> None:
    params = PatchingParams(source="paired", sites=("z",), positions=positions)
    total = {
        key.component: values
        for key, values in run(patching, lm, prompts(lm, size, data), params).scores.items()
        if key.quantity == Quantity("total_effect", "z", OF_LOGIT_DIFF)
    }
    strongest = sorted(total, key=lambda head: -abs(total[head].mean()))[:3]
    built = distributions.build(DistributionSpec.parse(data, size=size))
    assert isinstance(built, CompletionDistribution)
    for number, (prompt, source) in enumerate(
        zip(built.prompts, built.counterfactuals, strict=True)
    ):
        assert source is not None
        expected = [plain_effect(model, tokenizer, prompt, source, h, positions) for h in strongest]
        np.testing.assert_allclose([total[head][number] for head in strongest], expected, atol=1e-4)


@torch.no_grad()
def plain_effect(
    model: Any,
    tokenizer: Any,
    prompt: CompletionPrompt,
    source: CompletionPrompt,
    head: Component,
    site: str,
) -> float:
    """The effect of a head's output in the source, without any of our engine."""
    ids = [tokenizer.encode(prompt.joint + label)[0] for label in prompt.labels]
    right = torch.tensor([index in prompt.correct for index in range(len(ids))])
    output = model.model.layers[head.layer].self_attn.o_proj
    own = slice(64 * head.index, 64 * (head.index + 1))
    seen: list[Tensor] = []

    def place(of: CompletionPrompt) -> int:
        offsets = tokenizer(of.text, return_offsets_mapping=True)["offset_mapping"]
        stop = len(of.text) if site == "final" else of.spans[site].stop
        return max(number for number, (start, _) in enumerate(offsets) if start < stop)

    def difference(text: str) -> float:
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1, ids]
        return float(logits[right].mean() - logits[~right].mean())

    def replaced(_module: object, args: tuple[Tensor]) -> tuple[Tensor]:
        changed = args[0].clone()
        changed[:, place(prompt), own] = seen[0][:, place(source), own]
        return (changed,)

    with output.register_forward_pre_hook(lambda _module, args: seen.append(args[0])):
        difference(source.text)
    before = difference(prompt.text)
    with output.register_forward_pre_hook(replaced):
        return difference(prompt.text) - before
