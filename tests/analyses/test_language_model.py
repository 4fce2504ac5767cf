import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from analyses.checkpoints.contents import Changed
from analyses.engine.closure import DoesNotClose
from analyses.engine.tracing import NoAttentionInterface, UnknownAnatomy
from analyses.errors import Refused
from analyses.language_model import LanguageModel
from analyses.pretrained import IncompleteWeights, UnknownDtype


def test_a_model_is_loaded_when_every_layer_closes(load, family: str) -> None:
    lm = load(family)
    assert len(lm.anatomy.layers) == lm.shape.n_layers == lm.model.config.num_hidden_layers
    assert not lm.model.training
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_closes_less_tightly(saved, loaded, family: str, dtype: str) -> None:
    lm = LanguageModel.load(saved(family), dtype=dtype)
    loaded.append(lm)
    assert lm.tolerance > 1e-4


@pytest.mark.parametrize("family", ["bloom", "falcon", "gpt_neo", "gptj"])
def test_attention_outside_the_interface_is_refused(saved, family: str) -> None:
    with pytest.raises(NoAttentionInterface, match=f"'{family}' models does not go through"):
        LanguageModel.load(saved(family))


def test_a_norm_on_the_residual_itself_is_refused(saved) -> None:
    with pytest.raises(UnknownAnatomy, match="after the last layer"):
        LanguageModel.load(saved("opt", do_layer_norm_before=False))


def test_missing_weights_are_refused_rather_than_made_up(saved) -> None:
    path = saved("llama") / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.self_attn.o_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(IncompleteWeights, match=r"layers\.1\.self_attn\.o_proj"):
        LanguageModel.load(path.parent)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_attention_heads": 0},
        {"hidden_size": "abc"},
        {"hidden_size": 33},
        {"rope_parameters": "x"},
    ],
    ids=str,
)
def test_a_config_that_cannot_be_is_refused(saved, wrong: dict[str, object]) -> None:
    folder = saved("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | wrong))
    with pytest.raises(Refused, match=r"cannot be loaded|does not say"):
        LanguageModel.load(folder)


@pytest.mark.parametrize("wrong", [{"vocab_size": 70}, {"num_key_value_heads": 1}], ids=str)
def test_weights_of_another_shape_than_the_config_says_are_refused(
    saved, wrong: dict[str, int]
) -> None:
    folder = saved("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | wrong))
    with pytest.raises(IncompleteWeights, match="missing or have another shape"):
        LanguageModel.load(folder)


def test_a_model_that_changed_since_it_was_submitted_is_refused(saved, tmp_path) -> None:
    with pytest.raises(Changed, match="Restore the files, or submit the run again"):
        LanguageModel.load(saved("llama"), expect="0" * 64, cache=tmp_path)


def test_an_unknown_dtype_is_refused(saved) -> None:
    with pytest.raises(UnknownDtype, match="float32"):
        LanguageModel.load(saved("llama"), dtype="int8")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("model.layers.1.self_attn.o_proj", "layer 1.*heads and bias"),
        ("model.layers.1", "layer 1.*the output residual"),
        ("model.norm", "the end.*unembedding"),
    ],
)
def test_a_hidden_bias_is_found_and_its_place_named(load, path: str, message: str) -> None:
    lm = load("llama")
    handle = lm.model.get_submodule(path).register_forward_hook(lambda _m, _i, out: out + 0.01)
    try:
        with pytest.raises(DoesNotClose, match=message):
            lm.prove([3, 1, 4, 15, 9, 2, 6])
    finally:
        handle.remove()


def test_attention_that_sees_later_tokens_is_refused(load, monkeypatch) -> None:
    lm = load("llama")

    def sees_all(module, query, key, value, mask, **others):
        k, v = (each.repeat_interleave(2, dim=1) for each in (key, value))
        return torch.nn.functional.scaled_dot_product_attention(query, k, v).transpose(1, 2), None

    monkeypatch.setattr(
        "transformers.models.llama.modeling_llama.eager_attention_forward", sees_all
    )
    with pytest.raises(DoesNotClose, match="causal"):
        lm.prove([3, 1, 4, 15, 9, 2, 6])


def test_an_attention_function_unlike_the_familys_own_is_refused(load, monkeypatch) -> None:
    lm = load("gemma2", attn_logit_softcapping=0.5)
    lm.model.config.attn_logit_softcapping = None
    for layer in lm.model.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    lm.prove([3, 1, 4, 15, 9, 2, 6])  # still the same on both sides
    own = "transformers.models.gemma2.modeling_gemma2.eager_attention_forward"
    monkeypatch.setattr(
        own, lambda m, q, k, v, mask, **_: (torch.zeros_like(q.transpose(1, 2)), None)
    )
    with pytest.raises(DoesNotClose, match="loading"):
        lm.prove([3, 1, 4, 15, 9, 2, 6])


@pytest.mark.slow
def test_smollm2_closes(loaded_smollm2) -> None:
    assert loaded_smollm2.shape.n_layers == 30


def test_a_model_that_cannot_be_replayed_is_refused(load, monkeypatch) -> None:
    """Here a layer that remembers how many tokens it was called with."""
    lm = load("llama")
    layer = lm.model.model.layers[1]
    forward = layer.forward
    monkeypatch.setattr(
        layer,
        "forward",
        lambda hidden, **others: forward(hidden, **others) + 0.1 * (hidden.shape[1] == 1),
    )
    with pytest.raises(DoesNotClose, match="replayed"):
        lm.prove([3, 1, 4, 15, 9, 2, 6])


@pytest.mark.slow
def test_the_gap_that_is_left_is_told(load, loaded_smollm2) -> None:
    assert 0 < load("gemma2").largest_gap < 1e-5
    assert 0 < loaded_smollm2.largest_gap < 1e-5


def test_a_gap_in_the_second_prompt_of_the_proof_is_told(load, monkeypatch) -> None:
    """A layer that gives padded rows something else when they are replayed."""
    lm = load("llama")
    layer = lm.model.model.layers[1]
    forward = layer.forward

    def wrong_in_the_second_row(hidden, **others):
        output = forward(hidden, **others)
        if hidden.shape[1] == 1:
            output[1:] += 0.1
        return output

    monkeypatch.setattr(layer, "forward", wrong_in_the_second_row)
    with pytest.raises(DoesNotClose, match=r"the proof at loading.*replayed"):
        lm.prove([3, 1, 4, 15, 9, 2, 6])
