"""Numbers that are not finite end a run with the prompt, the layer and the dtype."""

from typing import Any

import pytest
import torch
from studied import LONG, read_for, run
from torch.testing import assert_close

from analyses import knowledge
from analyses.engine.finite import NotFinite
from analyses.engine.interventions import Constant, Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.methods.attribution import AttributionParams, attribution
from analyses.methods.behaviour import BehaviourParams, behaviour
from analyses.organism.export import SHIPPED


@pytest.fixture
def massive(loaded):
    """The shipped model in float16 with one token, of some prompts, whose embedding is massive."""
    lm = LanguageModel.load(SHIPPED, dtype="float16")
    loaded.append(lm)
    made = read_for(lm, size=16)
    texts = [set(each.input_ids) for each in made]
    token = min(set.union(*texts) - texts[0] - texts[1] - {0})
    embedding: Any = lm.model.get_input_embeddings()
    embedding.weight = torch.nn.Parameter(embedding.weight.detach().clone())  # its own alone
    embedding.weight.data[token] = 7e4  # beyond the largest number of float16
    return lm, made, token


def first_layer_that_overflows(lm: LanguageModel, ids: tuple[int, ...]) -> int:
    """By a plain pass of the prompt alone, with plain hooks."""
    sound = []

    def gave(_module, _args, output) -> None:
        value = output[0] if isinstance(output, tuple) else output
        sound.append(bool(value.isfinite().all()))

    handles = [each.layer.register_forward_hook(gave) for each in lm.anatomy.layers]
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    for handle in handles:
        handle.remove()
    assert logits.isnan().any()
    return sound.index(False)


def test_a_massive_token_ends_the_run_where_it_first_overflows(massive) -> None:
    lm, made, token = massive
    first = next(each for each in made if token in each.input_ids)
    layer = first_layer_that_overflows(lm, first.input_ids)
    assert first.number > 1
    said = rf"Prompt {first.number} cannot be measured: from layer {layer} on, .* in float16"
    for function, params in ((behaviour, BehaviourParams()), (attribution, AttributionParams())):
        with pytest.raises(NotFinite, match=said):
            run(function, lm, made, params)
    whole = [each for each in made if token not in each.input_ids]
    assert run(behaviour, lm, whole, BehaviourParams()).scores


def test_texts_of_options_are_watched_as_prompts_are(massive) -> None:
    lm, made, token = massive
    of_content = [
        each
        for each in made
        if token in each.content.context or any(token in option for option in each.content.options)
    ]
    with pytest.raises(NotFinite, match=rf"Prompt {of_content[0].number} cannot be measured"):
        knowledge.content_accuracy(lm, made, batch_size=4)


def test_what_stands_behind_a_prompts_end_does_not_matter(load, prompts) -> None:
    """No token that is not in a prompt is computed, which might overflow and spread as 0 · NaN."""
    lm = load("llama")
    made = prompts([9, 4, 6])
    before = lm.record(lm.batch(made)).logits
    others = sorted(set(range(60)) - {token for each in made for token in each.input_ids})
    lm.model.get_input_embeddings().weight.data[others] = torch.inf
    assert_close(lm.record(lm.batch(made)).logits, before, atol=0, rtol=0)


def test_logits_alone_that_overflow_are_told(load, prompts) -> None:
    lm = load("llama")
    lm.model.get_output_embeddings().weight.data[7] = 3e38
    with pytest.raises(NotFinite, match=r"Prompt 0 .* in the logits, .* in float32"):
        lm.record(lm.batch(prompts([5, 6])))


def test_a_patch_that_overflows_is_named(load, prompts) -> None:
    lm = load("llama")
    batch = lm.batch(prompts([5, 6]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    patch = Patch(site=Site.Z, layer=0, head=1, value=Constant(torch.full((8,), torch.inf)))
    with pytest.raises(NotFinite, match=r"Prompt 0 .*: under the patch of z of L00.H01, "):
        lm.replay(recorded, [Intervention(), Intervention((patch,))], batch.label_ids)


def test_a_model_that_overflows_at_once_is_refused_when_it_is_loaded(random_model, saved) -> None:
    model = random_model("llama", **LONG)
    model.model.layers[1].mlp.down_proj.weight.data += 1e5
    with pytest.raises(NotFinite, match=r"The proof at loading .* from layer 1 on, .* in float16"):
        LanguageModel.load(saved(model), dtype="float16")
