"""Limits on a model's files, far above those of the models in use."""

from pathlib import Path

from analyses.errors import Refused

CONFIG_BYTES = 8 * 2**20
INDEX_BYTES = 64 * 2**20
TOKENIZER_BYTES = 64 * 2**20
JSON_DEPTH = 64
HEADER_BYTES = 32 * 2**20  # of one safetensors file
TENSORS = 500_000  # of one safetensors file
FILES = 1_000  # of weights
GGUF_TENSORS = 100_000
GGUF_ENTRIES = 4_000_000  # of the metadata, and of all lists in it together
GGUF_TEXT_BYTES = 16 * 2**20


class TooMuch(Refused):
    def __init__(self, path: Path, what: str, value: object, most: object) -> None:
        super().__init__(
            f"{path} is not read: {what} is {value}, and the limit is {most}. Check that it is the "
            f"right file, save the model again, or use another one."
        )


def check(path: Path, what: str, value: int, most: int) -> None:
    """Raises `TooMuch` if `value` is above `most`."""
    if value > most:
        raise TooMuch(path, what, f"{value:,}", f"{most:,}")
