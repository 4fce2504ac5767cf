"""A real model on indirect object identification, beside plain hooks of transformers alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from studied import of
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.language_model import LanguageModel
from analyses.methods.patching import PatchingParams, patching
from analyses.prompts import distributions
from analyses.prompts.examples import examples
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import SourceKind
from analyses.prompts.spec import DistributionSpec
from analyses.results import MODEL, Component, Kind

HEADS = ((19, 1), (25, 4), (29, 0))
D_HEAD = 64


@pytest.fixture
def ground(smollm2: Path, loaded):
    lm = LanguageModel.load(smollm2)
    loaded.append(lm)
    built = distributions.build(DistributionSpec(data="ioi", size=2))
    made = pairs(built, SourceKind.PAIRED)
    sources = {pair.base.number: pair.source for pair in made}
    read = examples(lm.tokenizer, built.prompts, {SourceKind.PAIRED: sources})
    return lm, built.prompts, read, made


def test_heads_of_smollm2_have_the_effects_of_a_plain_hook(ground, smollm2: Path) -> None:
    lm, prompts, read, made = ground
    params = PatchingParams(source="paired", sites=("z",), direction="denoise")
    found = patching(lm, read, params, lambda done: None)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(smollm2)

    def z_of(text: str, layer: int) -> torch.Tensor:
        seen = []
        writer = model.model.layers[layer].self_attn.o_proj
        handle = writer.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
        with torch.no_grad():
            model(**tokenizer(text, return_tensors="pt"))
        handle.remove()
        return seen[0][0, -1]

    def logit_diff(text: str, prompt, layer: int, head: int, z: torch.Tensor | None) -> float:
        def replaced(_module, args):
            changed = args[0].clone()
            if z is not None:
                where = slice(head * D_HEAD, (head + 1) * D_HEAD)
                changed[0, -1, where] = z[where]
            return (changed,)

        writer = model.model.layers[layer].self_attn.o_proj
        handle = writer.register_forward_pre_hook(replaced)
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1]
        handle.remove()
        first = [tokenizer.encode(f" {name}")[0] for name in prompt.labels]
        (right,) = prompt.correct
        return float(logits[first[right]] - logits[first[1 - right]])

    for row, pair in enumerate(made):
        prompt, corrupted = prompts[row], pair.source.text
        unpatched = logit_diff(corrupted, prompt, *HEADS[0], None)
        base = of(found, component=MODEL, metric="logit_diff", condition="base")
        assert base[row] == pytest.approx(unpatched, abs=1e-4)
        for layer, head in HEADS:
            z = z_of(prompt.text, layer)
            expected = logit_diff(corrupted, prompt, layer, head, z) - unpatched
            component = Component(kind=Kind.HEAD, layer=layer, index=head)
            effect = of(
                found, component=component, metric="total_effect", site="z", condition="logit_diff"
            )
            assert effect[row] == pytest.approx(expected, abs=1e-4)
    clean = of(found, component=MODEL, metric="logit_diff", condition="source")
    assert np.all(clean > 1)
