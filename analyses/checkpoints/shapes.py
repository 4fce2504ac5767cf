"""How large a language model is, read from its config.json without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analyses.errors import Refused

_NAMES = {  # families call the same number differently
    "n_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "n_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "d_model": ("hidden_size", "n_embd", "d_model"),
    "d_vocab": ("vocab_size",),
}


class UnknownShape(Refused):
    def __init__(self, fact: str, names: tuple[str, ...]) -> None:
        super().__init__(
            f"config.json does not say {fact}: none of {', '.join(names)} is there. "
            f"Is it the config of a causal language model? Save the model with save_pretrained."
        )


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    family: str  # the config's model_type
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_vocab: int


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The facts in a config; those of the text model when it is one part of several."""
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) and "vocab_size" not in config else config
    fact = {name: _number(text, name, names) for name, names in _NAMES.items()}
    return ModelShape(
        family=str(text.get("model_type", config.get("model_type", "unknown"))),
        n_kv_heads=_kv_heads(text, fact["n_heads"]),
        d_head=int(text.get("head_dim") or fact["d_model"] // fact["n_heads"]),
        **fact,
    )


def _kv_heads(config: Mapping[str, Any], n_heads: int) -> int:
    """As many as heads, unless the config says that heads share keys and values."""
    if config.get("multi_query"):
        return 1
    return int(config.get("num_key_value_heads") or n_heads)


def _number(config: Mapping[str, Any], fact: str, names: tuple[str, ...]) -> int:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise UnknownShape(fact, names)
