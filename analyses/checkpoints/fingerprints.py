"""A model's identity as one hash, over its config, its tokenizer and every byte of its weights."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Written by the library that saved the model; they do not affect its outputs.
_INCIDENTAL = {"transformers_version", "_name_or_path"}


def fingerprint(config: Mapping[str, Any], hashes: Mapping[str, str]) -> str:
    """sha256 over the canonical config and the hashes of the other files, keyed by file name."""
    whole = hashlib.sha256(b"headbook model 1\n")
    whole.update(canonical(config))
    for name, sha256 in hashes.items():
        whole.update(f"\n{name} {sha256}".encode())
    return whole.hexdigest()


def canonical(config: Mapping[str, Any]) -> bytes:
    """The config as JSON with sorted keys, without the fields that the saving library adds."""
    kept = {name: value for name, value in config.items() if name not in _INCIDENTAL}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
