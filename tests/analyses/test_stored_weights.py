"""A model is refused when its files hold more than it uses, or numbers that are no weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from analyses import checkup
from analyses.checkpoints import contents, folders
from analyses.checkpoints.configs import QuantisedWeights
from analyses.checkpoints.headers import BrokenWeights, StoredTwice
from analyses.language_model import LanguageModel
from analyses.pretrained import IncompleteWeights, pretrained
from analyses.stored_weights import StoredUnderTwoNames, UnusedWeights

Weights = dict[str, Tensor]
FIRST = "model.layers.0.mlp.up_proj.weight"


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("family", "fields", "says"),
    [
        ("llama", {"num_hidden_layers": 2}, r"model\.layers\.2\.input_layernorm.*\(18 in all\)"),
        ("gpt2", {"n_layer": 2}, r"transformer\.h\.2\.attn\.c_attn\.bias.*\(24 in all\)"),
        ("mixtral", {"num_hidden_layers": 2}, r"model\.layers\.2\..*\(\d+ in all\)"),
    ],
)
def test_more_layers_than_the_config_says_are_refused(saved, family, fields, says) -> None:
    depth = dict.fromkeys(fields, 4)
    folder = saved(family, **depth)
    change_config(folder, **fields)
    with pytest.raises(UnusedWeights, match=rf"{says} have no place in this '{family}' model"):
        LanguageModel.load(folder)


def test_a_weight_that_the_config_switches_off_is_refused(saved) -> None:
    folder = saved("llama", attention_bias=True)
    change_config(folder, attention_bias=False)
    with pytest.raises(UnusedWeights, match=r"self_attn\.k_proj\.bias.*\(8 in all\)"):
        LanguageModel.load(folder)


def test_more_experts_than_the_config_says_are_refused(saved) -> None:
    folder = saved("mixtral")
    change_config(folder, num_local_experts=2)
    with pytest.raises((UnusedWeights, IncompleteWeights), match="experts"):
        LanguageModel.load(folder)


def with_scales(weights: Weights) -> Weights:
    """As vLLM and others save int8: the codes under the weight's own name, a scale beside."""
    scale = weights[FIRST].abs().max() / 127
    codes = (weights[FIRST] / scale).round().to(torch.int8)
    return {**weights, FIRST: codes, f"{FIRST}_scale": scale[None]}


def float8(weights: Weights) -> Weights:
    return {**weights, FIRST: weights[FIRST].to(torch.float8_e4m3fn)}


def int8(weights: Weights) -> Weights:
    return {**weights, FIRST: (weights[FIRST] * 100).to(torch.int8)}


def only_scales(weights: Weights) -> Weights:
    """Codes that are kept as floats do not show in their dtype."""
    name = FIRST.replace("weight", "weight_scale_inv")
    return {**weights, FIRST: (weights[FIRST] * 100).round(), name: torch.tensor([0.01])}


def packed(weights: Weights) -> Weights:
    """Two codes in a byte, beside a weight of the same name."""
    return {**weights, FIRST.replace("weight", "qweight"): torch.zeros(4, dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_scales, rf"{FIRST} is I8 \(1 in all\)"),
        (float8, rf"{FIRST} is F8_E4M3"),
        (int8, rf"{FIRST} is I8"),
        (only_scales, r"scales: model\.layers\.0\.mlp\.up_proj\.weight_scale_inv \(1 in all\)"),
        (packed, r"up_proj\.qweight is U8"),
    ],
)
def test_quantised_weights_are_refused_by_name(saved, change, says: str) -> None:
    folder = saved("llama")
    change_weights(folder, change)
    with pytest.raises(QuantisedWeights, match=says):
        LanguageModel.load(folder)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        (
            "gpt2",
            {
                "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool),
                "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
            },
        ),
        (
            "gpt_neox",
            {
                "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8),
                "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
                "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(4),
            },
        ),
    ],
    ids=["llama", "gpt2", "gpt_neox"],
)
def test_buffers_that_are_calculated_are_harmless(saved, loaded, family, more) -> None:
    folder = saved(family)
    change_weights(folder, lambda weights: weights | more)
    loaded.append(LanguageModel.load(folder))


def test_a_tied_unembedding_may_be_stored(saved, loaded) -> None:
    folder = saved("llama", tie_word_embeddings=True)
    change_weights(
        folder,
        lambda weights: weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()},
    )
    loaded.append(LanguageModel.load(folder))


def test_two_names_for_one_weight_are_refused(saved) -> None:
    folder = saved("llama")
    other = FIRST.removeprefix("model.")
    change_weights(folder, lambda weights: weights | {other: torch.zeros_like(weights[FIRST])})
    with pytest.raises(StoredUnderTwoNames, match=rf"{FIRST}: .*{other}"):
        LanguageModel.load(folder)


def test_a_tensor_in_two_files_is_refused(saved) -> None:
    folder = saved("llama")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = ("one.safetensors", "two.safetensors")
    save_file(weights, folder / files[0], metadata={"format": "pt"})
    save_file({FIRST: weights[FIRST]}, folder / files[1], metadata={"format": "pt"})
    where = dict.fromkeys(weights, files[0]) | {"model.norm.weight": files[1]}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with pytest.raises(StoredTwice, match=rf"{FIRST} is in both .*one\.safetensors and two\."):
        LanguageModel.load(folder)


def test_a_broken_header_is_refused(saved) -> None:
    folder = saved("llama")
    (folder / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(BrokenWeights, match=r"model\.safetensors cannot be read"):
        LanguageModel.load(folder)


def test_a_bias_is_not_taken_for_the_mask_that_its_family_leaves_out(saved) -> None:
    """GPT-2 leaves out `attn.bias`, wherever that is found in a name."""
    folder = saved("gpt2")
    more = {"transformer.h.2.attn.c_attn.bias": torch.zeros(96)}
    change_weights(folder, lambda weights: weights | more)
    with pytest.raises(UnusedWeights, match=r"h\.2\.attn\.c_attn\.bias \(1 in all\)"):
        LanguageModel.load(folder)


@pytest.mark.parametrize(("part", "refused"), [("eh_proj.weight", False), ("up.weight", True)])
def test_a_further_layer_is_left_out_only_if_it_predicts_more_tokens(
    tmp_path, part: str, refused: bool
) -> None:
    """DeepSeek's number 61 is such a layer in its own model, and a layer like others elsewhere."""
    config = AutoConfig.for_model(
        "deepseek_v3",
        hidden_size=16,
        intermediate_size=16,
        moe_intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        kv_lora_rank=8,
        q_lora_rank=8,
        qk_nope_head_dim=4,
        qk_rope_head_dim=4,
        v_head_dim=4,
        vocab_size=60,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    name = f"model.layers.61.{part}"
    change_weights(tmp_path, lambda weights: weights | {name: torch.zeros(3)})
    read = contents.of(folders.read(tmp_path), remembered=None)
    if refused:
        with pytest.raises(UnusedWeights, match=r"layers\.61\.up\.weight \(1 in all\)"):
            pretrained(read, dtype="float32", device="cpu")
    else:
        assert pretrained(read, dtype="float32", device="cpu").left_out == (name,)


@pytest.mark.parametrize("described", [True, False])
def test_a_tower_is_left_out_where_the_config_describes_it(saved, loaded, described: bool) -> None:
    """Llama 4's text model is made of a config that has a part for pictures as well."""
    folder = saved("llama")
    tower = {"model.vision_tower.encoder.layers.30.mlp.fc1.weight": torch.zeros(3)}
    change_weights(folder, lambda weights: weights | tower)
    if not described:
        with pytest.raises(UnusedWeights, match="vision_tower"):
            LanguageModel.load(folder)
        return
    change_config(folder, vision_config={"hidden_size": 8})
    lm = LanguageModel.load(folder)
    loaded.append(lm)
    assert lm.left_out == tuple(tower)
    said, *_ = checkup.unread(lm)
    assert "since text does not need them: model.vision_tower" in said
