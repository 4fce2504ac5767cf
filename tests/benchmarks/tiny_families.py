"""A tiny random model of any causal-LM family of transformers, its config made by introspection."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

N_LAYERS = N_HEADS = 4
D_VOCAB = 60
MOST_WEIGHTS = 20_000_000
_DEPTHS = (
    "num_hidden_layers num_layers n_layer n_layers decoder_layers encoder_layers depth "
    "num_decoder_layers num_encoder_layers"
)
_SIZES = {  # the value, and what families call the fields
    4: (
        f"{_DEPTHS} num_attention_heads n_head n_heads num_heads decoder_attention_heads "
        "encoder_attention_heads attention_heads num_encoder_attention_heads "
        "num_decoder_attention_heads num_experts num_local_experts n_routed_experts "
        "moe_num_experts mamba_d_conv"
    ),
    2: (
        "num_key_value_heads num_kv_heads num_global_key_value_heads num_experts_per_tok "
        "num_experts_per_token moe_top_k moe_k experts_per_token mamba_n_groups n_groups"
    ),
    1: (
        "n_group topk_group n_shared_experts num_shared_experts moe_num_shared_experts "
        "first_k_dense_replace"
    ),
    32: (
        "hidden_size n_embd d_model embed_dim embedding_size word_embed_proj_dim dim "
        "cross_attention_hidden_size projection_dim q_lora_rank"
    ),
    48: (
        "intermediate_size ffn_dim n_inner ffn_hidden_size d_ff d_inner decoder_ffn_dim "
        "encoder_ffn_dim dense_intermediate_size intermediate_size_mlp shared_intermediate_size"
    ),
    24: (
        "moe_intermediate_size expert_ffn_hidden_size shared_expert_intermediate_size "
        "moe_shared_expert_intermediate_size"
    ),
    16: "kv_lora_rank mamba_d_state state_size ssm_state_size",
    8: (
        "head_dim d_head kv_channels attention_head_dim global_head_dim qk_nope_head_dim "
        "qk_rope_head_dim v_head_dim mamba_d_head mamba_head_dim mamba_headdim "
        "linear_key_head_dim linear_value_head_dim rotary_dim hidden_size_per_layer_input"
    ),
    64: (
        "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length "
        "original_max_position_embeddings max_target_positions"
    ),
    D_VOCAB: "vocab_size vocab_size_per_layer_input",
}
_FIELDS: dict[str, Any] = {
    name: value for value, names in _SIZES.items() for name in names.split()
} | {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "sliding_window": 4,
    "is_decoder": True,
    "use_cache": False,
    "num_kv_shared_layers": 0,
    "mamba_n_heads": 8,
}
_OF_FAMILIES: dict[str, dict[str, Any]] = {
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # configs that make layers differ
    "deepseek_v3, narrow values": ("deepseek_v3", {"v_head_dim": 12}),
    "gemma4_text, shared keys": (
        "gemma4_text",
        {
            "num_kv_shared_layers": 2,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
    ),
    "gpt2, scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "llama, wide heads": ("llama", {"head_dim": 16}),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, "max_window_layers": 2}),
    "smollm3, layers without rotary": ("smollm3", {"no_rope_layers": [1, 0, 1, 0]}),
}


class NotBuilt(Exception):
    """No model comes of the generic sizes; the message says why."""


def families() -> list[str]:
    return sorted([*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *VARIANTS])


def save(family: str, folder: Path) -> None:
    """A random model with a tokenizer; raises `NotBuilt`."""
    name, choices = VARIANTS.get(family, (family, _OF_FAMILIES.get(family, {})))
    try:
        kind = CONFIG_MAPPING[name]
        model = _model(kind(**_small(kind()) | choices))
        model.save_pretrained(folder)
    except NotBuilt:
        raise
    except Exception as error:  # sizes that do not fit each other fail in every way
        raise NotBuilt(f"{type(error).__name__}: {error}") from error
    words = {f"w{number}": number for number in range(D_VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


def _small(default: PretrainedConfig) -> dict[str, Any]:
    """Fields by the usual names, those of nested configs too; lists by layer are cut."""
    depth = _depth(default)
    chosen: dict[str, Any] = {}
    for name, value in vars(default).items():
        if isinstance(value, PretrainedConfig):
            chosen[name] = type(value)(**_small(value))
        elif name in _FIELDS:
            chosen[name] = _FIELDS[name]
        elif isinstance(value, list | tuple) and len(value) == depth:
            chosen[name] = [*value[: N_LAYERS - 1], value[-1]]  # the last is often another kind
    if "kv_lora_rank" in chosen:  # latent attention gives every head keys of its own
        chosen["num_key_value_heads"] = N_HEADS
    return chosen


def _depth(default: PretrainedConfig) -> int | None:
    named = (getattr(default, name, None) for name in _DEPTHS.split())
    return next((value for value in named if isinstance(value, int)), None)


def _model(config: PretrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > MOST_WEIGHTS:
        raise NotBuilt(f"it has {size:,} weights, sizes have other names")
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=torch.arange(9)[None], use_cache=False).logits
    if not bool(logits.isfinite().all()):
        raise NotBuilt("its own logits are not finite")
    return model
