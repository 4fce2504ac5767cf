"""Attributions against a literal computation, against paper, and against what must not close."""

import math
from dataclasses import replace

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from analyses.engine import closure, decomposition
from analyses.engine.closure import DoesNotClose, relative_gap
from analyses.engine.decomposition import components
from analyses.prompts.tokenization import TokenizedPrompt
from analyses.results import Component, Kind

PATHS = {  # layers, attention, output projection, post-norm, MLP's write, final norm
    "gemma2": ("model.layers", "self_attn.o_proj", "post_attention_layernorm"),
    "gpt2": ("transformer.h", "attn.c_proj", None),
    "llama": ("model.layers", "self_attn.o_proj", None),
    "qwen2": ("model.layers", "self_attn.o_proj", None),
}


def decomposed(lm, made):
    batch = lm.batch(made)
    return lm.decompose(lm.record(batch), batch.label_ids).shares, batch


def test_all_components_add_up_to_the_logits(shared, prompts, family: str) -> None:
    lm = shared(family)
    shares, batch = decomposed(lm, prompts([9, 5, 7]))
    assert shares.shape == (3, len(components(lm.anatomy)), 4)
    logits = lm.record(batch).logits.gather(1, batch.label_ids)
    assert relative_gap(lm.anatomy.cap(shares.sum(1)), logits).max() < 1e-4


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2"])
def test_tied_and_untied_unembeddings_close(shared, prompts, family: str, tied: bool) -> None:
    decomposed(shared(family, tie_word_embeddings=tied), prompts([6, 4]))


@pytest.mark.parametrize("family", PATHS)
def test_heads_agree_with_a_literal_computation(shared, prompts, family: str) -> None:
    """Plain hooks, one head at a time, every matrix sliced by hand."""
    lm = shared(family)
    (prompt,) = prompts([8])
    shares, _ = decomposed(lm, [prompt])
    order = components(lm.anatomy)
    layers, projection, post_norm = PATHS[family]
    z: dict[int, torch.Tensor] = {}
    projected: dict[int, torch.Tensor] = {}
    final: dict[str, torch.Tensor] = {}
    hooks = []
    for number, layer in enumerate(lm.model.get_submodule(layers)):
        module = layer.get_submodule(projection)

        def keep(_module, inputs, output, number=number):
            z[number], projected[number] = inputs[0][0, -1], output[0, -1]

        hooks.append(module.register_forward_hook(keep))
    last = lm.model.get_submodule(layers)[-1]
    hooks.append(last.register_forward_hook(lambda _m, _i, out: final.update(resid=out[0, -1])))
    with torch.no_grad():
        lm.model(torch.tensor([prompt.input_ids]))
    for hook in hooks:
        hook.remove()

    for number, layer in enumerate(lm.model.get_submodule(layers)):
        module = layer.get_submodule(projection)
        d_head = len(z[number]) // lm.shape.n_heads
        for head in range(lm.shape.n_heads):
            own = slice(head * d_head, (head + 1) * d_head)
            rows = module.weight[own] if isinstance(module, Conv1D) else module.weight[:, own].T
            write = z[number][own] @ rows
            if post_norm is not None:
                norm = layer.get_submodule(post_norm)
                mean_square = projected[number].square().mean()
                write = write / (mean_square + norm.eps).sqrt() * (1 + norm.weight)
            expected = _direct(lm, family, write, final["resid"])
            place = order.index(Component(kind=Kind.HEAD, layer=number, index=head))
            labels = expected[list(prompt.label_ids)]
            torch.testing.assert_close(shares[0, place], labels, atol=1e-5, rtol=1e-4)


def _direct(lm, family: str, write: torch.Tensor, resid: torch.Tensor) -> torch.Tensor:
    """The write through the final norm at the residual's scale, and through the unembedding."""
    if family == "gpt2":
        norm = lm.model.transformer.ln_f
        scale = (resid.var(unbiased=False) + norm.eps).sqrt()
        normed = (write - write.mean()) / scale * norm.weight
    else:
        norm = lm.model.model.norm
        epsilon = norm.eps if family == "gemma2" else norm.variance_epsilon
        gain = 1 + norm.weight if family == "gemma2" else norm.weight
        normed = write / (resid.square().mean() + epsilon).sqrt() * gain
    return lm.model.get_output_embeddings().weight @ normed


def test_a_model_done_on_paper(random_model, load) -> None:
    """One layer, one head that copies the first direction to the second, and an MLP that is silent.

    The token's embedding is (2, 0, 0, 0), of mean square 1, so z = (2, 0, 0, 0) and the head
    writes (0, 2, 0, 0). The final residual (2, 2, 0, 0) has mean square 2: each 2 becomes √2.
    Label 5 reads the first direction, label 6 the second.
    """
    model = random_model(
        "llama",
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        intermediate_size=4,
        rms_norm_eps=1e-12,
        tie_word_embeddings=False,
    )
    for name, parameter in model.named_parameters():
        parameter.data.zero_()
        if "norm" in name:
            parameter.data += 1.0
    layer = model.model.layers[0]
    model.model.embed_tokens.weight.data[:, 0] = 2.0
    layer.self_attn.v_proj.weight.data = torch.eye(4)
    layer.self_attn.o_proj.weight.data[1, 0] = 1.0
    model.lm_head.weight.data[5, 0] = 1.0
    model.lm_head.weight.data[6, 1] = 1.0
    model.lm_head.weight.data += 1e-3  # so that the proof at loading has logits to compare
    lm = load(model)
    prompt = TokenizedPrompt(number=0, item="", input_ids=(3, 1), label_ids=(5, 6), correct=(0,))
    shares, _ = decomposed(lm, [prompt])
    embed, head, mlp = shares[0] - 1e-3 * shares[0].sum(-1, keepdim=True) / (1 + 2e-3)
    torch.testing.assert_close(embed, torch.tensor([math.sqrt(2), 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(head, torch.tensor([0.0, math.sqrt(2)]), atol=1e-5, rtol=0)
    torch.testing.assert_close(mlp, torch.zeros(2))


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "olmo2"])
def test_leaving_the_post_norm_out_does_not_nearly_close(shared, prompts, family: str) -> None:
    lm = shared(family)
    batch = lm.batch(prompts([7, 5]))
    recorded = lm.record(batch)
    without = tuple(replace(layer, post_norm_formula=None) for layer in lm.anatomy.layers)
    writes = decomposition.attention_writes(without[0], recorded.layers[0], 1.0)
    assert relative_gap(writes.heads.sum(1), recorded.layers[0].attn_out).min() > 0.1
    with pytest.raises(DoesNotClose, match="layer 0: the sum of heads"):
        decomposition.decompose(
            replace(lm.anatomy, layers=without), recorded, batch.label_ids, tolerance=1e-4
        )


@pytest.mark.parametrize(
    ("family", "choice", "message"),
    [
        ("granite", {"residual_multiplier": 1.0}, "layer 0"),
        ("granite", {"logit_multiplier": 1.0}, "the end"),
        ("cohere", {"logit_multiplier": 1.0}, "the end"),
        ("gemma2", {"logit_cap": None}, "the end"),
    ],
)
def test_a_forgotten_multiplier_or_cap_does_not_close(
    shared, prompts, family: str, choice: dict[str, object], message: str
) -> None:
    lm = shared(family, final_logit_softcapping=0.5) if family == "gemma2" else shared(family)
    batch = lm.batch(prompts([7, 5]))
    wrong = replace(lm.anatomy, **choice)
    with pytest.raises(DoesNotClose, match=message):
        decomposition.decompose(wrong, lm.record(batch), batch.label_ids, tolerance=1e-4)


def test_the_prompt_that_does_not_close_is_named(shared, prompts) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([7, 5, 6]))
    recorded = lm.record(batch)
    layer = recorded.layers[1]
    layer.attn_out[2] += 1.0
    with pytest.raises(DoesNotClose, match="prompt 2, at layer 1"):
        lm.decompose(recorded, batch.label_ids)


def test_a_number_that_is_none_does_not_close() -> None:
    nan = torch.full((1, 3), torch.nan)
    with pytest.raises(DoesNotClose):
        closure.check_closure(nan, nan, where="here", what="", numbers=(0,), tolerance=1e-4)


def test_constants_have_a_row_only_where_the_model_has_them(shared) -> None:
    def kinds(family: str) -> set[Kind]:
        return {component.kind for component in components(shared(family).anatomy)}

    without = {Kind.EMBED, Kind.HEAD, Kind.MLP}
    assert kinds("llama") == without
    assert kinds("gpt2") == without | {Kind.ATTN_BIAS, Kind.UNEMBED}
