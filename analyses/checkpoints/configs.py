"""Reads a model's config.json; refuses custom code, references to other files and huge sizes."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

from analyses import bounds
from analyses.bounds import TooMuch
from analyses.checkpoints import plain_json
from analyses.checkpoints.plain_json import BrokenJson
from analyses.errors import Refused

_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
_QUANTISED = ("quantization_config", "compression_config")
_EXTERNAL = {
    "transformers_weights": "takes the weights from other files",
    "configuration_files": "takes the config from other files",
    "backbone": "refers to another model",
    "use_timm_backbone": "refers to another model",
    "use_pretrained_backbone": "refers to another model",
    "kernel_config": "requests kernels, which are code",
    "use_kernels": "requests kernels, which are code",
    "fusion_config": "replaces the layers of its family",
    "distributed_config": "requires several processes",
}
# transformers takes any other name for a repository of kernels.
_KERNELS = re.compile(r"(attn|attention|experts|mlp|moe)_implementation(_internal)?$")
_OWN_KERNELS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flex_attention",
    "grouped_mm",
    "batched_mm",
)
_DTYPES = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_MOST = (  # pattern of the field's name → largest value accepted; larger ones are slow to build
    (re.compile(r"(layers?|blocks|depths?)$"), 1_000),
    (re.compile(r"(heads?|heads_kv|head_kv)$"), 2**14),
    (re.compile(r"experts$"), 2**14),
    (re.compile(r"(positions?|position_embeddings|_ctx|seq_len|sequence_length)$"), 2**27),
    (re.compile(r"vocab_size"), 2**24),
    (re.compile(r"\[\]$"), 2**20),  # numbers in lists: tokens, lengths, how often a layer repeats
)


class CustomCode(Refused):
    def __init__(self, path: Path, key: str, value: object) -> None:
        classes = sorted(map(str, value)) if isinstance(value, dict) else [str(value)[:80]]
        super().__init__(
            f"{path} needs custom code ({key}: {', '.join(classes)}), which is never run "
            f"(trust_remote_code is off). Use a version of the model that transformers supports "
            f"natively."
        )


class QuantisedWeights(Refused):
    def __init__(self, folder: Path, method: str) -> None:
        super().__init__(
            f"The weights in {folder} are quantised ({method}), so the weights of single heads "
            f"cannot be read. Dequantise the model, save it with save_pretrained and use that "
            f"folder."
        )


class LeadsElsewhere(Refused):
    def __init__(self, path: Path, key: str, value: object, why: str) -> None:
        super().__init__(
            f"{path} sets {key} to {str(value)[:80]!r}, which {why}. Remove the entry if the "
            f"model works without it, or save the model in a form that transformers supports."
        )


def read(path: Path) -> Mapping[str, Any]:
    """The config. Raises a `Refused` if it is malformed, too large or needs code or other files."""
    config = plain_json.read(path, most=bounds.CONFIG_BYTES)
    for key, value in _entries(config):
        _check_self_contained(path, key, value)
        _check_size(path, key, value)
    if not isinstance(config.get("model_type"), str):
        raise BrokenJson(path, "it has no model_type, which names the model's family")
    return config


def _entries(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every key and value of the config and its nested configs; items of a list are `name[]`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield f"{name}[]", inner
            yield from _entries(inner, name)


def _check_self_contained(path: Path, key: str, value: object) -> None:
    if not value:
        return
    if key in _CODE:
        raise CustomCode(path, key, value)
    if key in _QUANTISED:
        method = value.get("quant_method") if isinstance(value, dict) else value
        raise QuantisedWeights(path.parent, str(method or "?"))
    if why := _EXTERNAL.get(key):
        raise LeadsElsewhere(path, key, value, why)
    if _KERNELS.search(key) and not _all_in(value, _OWN_KERNELS):
        why = f"is not one of {', '.join(_OWN_KERNELS)}, so it requests kernels, which are code"
        raise LeadsElsewhere(path, key, value, why)
    if key in ("dtype", "torch_dtype") and not _all_in(value, _DTYPES):
        raise LeadsElsewhere(path, key, value, f"is not one of {', '.join(_DTYPES)}")


def _all_in(value: object, known: tuple[str, ...]) -> bool:
    """Whether a name, or the name for each part of the model, is known or None."""
    names = value.values() if isinstance(value, dict) else [value]
    return all(name is None or name in known for name in names)


def _check_size(path: Path, key: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if key.endswith("[]") and abs(value) == inf:  # not a size: an unbounded interval
        return
    for pattern, most in _MOST:
        if pattern.search(key) and not abs(value) <= most:
            raise TooMuch(path, key.removesuffix("[]"), str(value)[:40], f"{most:,}")
