"""How large a model is, read from the heads of its files without loading it."""

from math import prod

from safetensors import safe_open

from analyses.checkpoints.folders import ModelFiles


def n_weights(files: ModelFiles) -> int:
    """How many numbers its files hold; those that are tied are stored once."""
    total = 0
    for path in files.weights:
        with safe_open(path, framework="numpy") as file:
            total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total
