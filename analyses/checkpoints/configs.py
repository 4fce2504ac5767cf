"""A model's config.json, refused where it leads to code, to other files or to sizes without end."""

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
_ELSEWHERE = {
    "transformers_weights": "names other files as the weights",
    "configuration_files": "names other files as the config",
    "backbone": "names another model inside it",
    "use_timm_backbone": "names another model inside it",
    "use_pretrained_backbone": "names another model inside it",
    "kernel_config": "asks for kernels, which are code",
    "use_kernels": "asks for kernels, which are code",
    "fusion_config": "asks for other layers than its family's",
    "distributed_config": "asks for several processes",
}
# Any other name is taken for a repository of kernels.
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
_MOST = (  # what the fields are called, and the most that is taken: each costs time when one builds
    (re.compile(r"(layers?|blocks|depths?)$"), 1_000),
    (re.compile(r"(heads?|heads_kv|head_kv)$"), 2**14),
    (re.compile(r"experts$"), 2**14),
    (re.compile(r"(positions?|position_embeddings|_ctx|seq_len|sequence_length)$"), 2**27),
    (re.compile(r"vocab_size"), 2**24),
    (re.compile(r"\[\]$"), 2**20),  # numbers in lists: tokens, lengths, how often a layer repeats
)


class CustomCode(Refused):
    def __init__(self, path: Path, key: str, asked: object) -> None:
        said = sorted(map(str, asked)) if isinstance(asked, dict) else [str(asked)[:80]]
        super().__init__(
            f"{path} asks for code of its own ({key}: {', '.join(said)}), "
            f"which is never run. Use a version of the model that transformers itself knows."
        )


class QuantisedWeights(Refused):
    def __init__(self, folder: Path, method: str) -> None:
        super().__init__(
            f"The weights in {folder} are quantised ({method}), so heads cannot be told apart in "
            f"them. Dequantise the model, save it with save_pretrained and use that folder."
        )


class LeadsElsewhere(Refused):
    def __init__(self, path: Path, key: str, value: object, why: str) -> None:
        super().__init__(
            f"{path} sets {key} to {str(value)[:80]!r}, which {why}. Take the entry out if the "
            f"model does without, or save the model again with what transformers itself knows."
        )


def read(path: Path) -> Mapping[str, Any]:
    """What it says, where it leads nowhere; raises `Refused`."""
    config = plain_json.read(path, most=bounds.CONFIG_BYTES)
    for key, value in _entries(config):
        _check_leads_nowhere(path, key, value)
        _check_size(path, key, value)
    if not isinstance(config.get("model_type"), str):
        raise BrokenJson(path, "it has no model_type, which names the model's family")
    return config


def _entries(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every field of the config and of the configs in it; what lies in a list is `name[]`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield f"{name}[]", inner
            yield from _entries(inner, name)


def _check_leads_nowhere(path: Path, key: str, value: object) -> None:
    if not value:
        return
    if key in _CODE:
        raise CustomCode(path, key, value)
    if key in _QUANTISED:
        method = value.get("quant_method") if isinstance(value, dict) else value
        raise QuantisedWeights(path.parent, str(method or "?"))
    if why := _ELSEWHERE.get(key):
        raise LeadsElsewhere(path, key, value, why)
    if _KERNELS.search(key) and not _all_in(value, _OWN_KERNELS):
        why = f"is none of {', '.join(_OWN_KERNELS)}, so that it asks for kernels, which are code"
        raise LeadsElsewhere(path, key, value, why)
    if key in ("dtype", "torch_dtype") and not _all_in(value, _DTYPES):
        raise LeadsElsewhere(path, key, value, f"is none of {', '.join(_DTYPES)}")


def _all_in(value: object, known: tuple[str, ...]) -> bool:
    """Of one name, or of one for each part of the model."""
    values = value.values() if isinstance(value, dict) else [value]
    return all(each is None or each in known for each in values)


def _check_size(path: Path, key: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if key.endswith("[]") and abs(value) == inf:  # no size: an interval without an end
        return
    for named, most in _MOST:
        if named.search(key) and not abs(value) <= most:
            raise TooMuch(path, key.removesuffix("[]"), str(value)[:40], f"{most:,}")
