"""How much memory a model needs, computed without loading it."""

from collections.abc import Sequence
from math import prod

from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.headers import stored_tensors
from analyses.checkpoints.shapes import LayerShape

ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number, by dtype in memory


def n_weights(files: ModelFiles) -> int:
    """The number of weights in a model's files, where tied weights are stored once."""
    return sum(prod(tensor.shape) for tensor in stored_tensors(files).values())


def of_a_token(*, widest: int, d_model: int, item: int) -> int:
    """Activation memory of a layer, in bytes per token: six widest maps, sixteen residuals."""
    return item * (6 * widest + 16 * d_model)


def least_memory(
    layers: Sequence[LayerShape], *, d_model: int, n_bytes: int, item: int, longest: int
) -> int:
    """The least memory of a run, in bytes: the weights, and one layer on `longest` tokens.

    A worker with less memory cannot execute the run. With more, it is faster.
    """
    heads = max(layer.n_heads * max(layer.d_qk, layer.d_v) for layer in layers)
    widest = max(d_model, heads)
    return n_bytes + longest * of_a_token(widest=widest, d_model=d_model, item=item)
