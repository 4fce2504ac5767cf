"""How large a model is, read from the heads of its files without loading it."""

from math import prod

from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.headers import stored_tensors


def n_weights(files: ModelFiles) -> int:
    """How many numbers its files hold; those that are tied are stored once."""
    return sum(prod(tensor.shape) for tensor in stored_tensors(files).values())
