"""How much memory a model takes, said without loading it."""

from collections.abc import Sequence
from math import prod

from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.headers import stored_tensors
from analyses.checkpoints.shapes import LayerShape

ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number, by dtype in memory


def n_weights(files: ModelFiles) -> int:
    """How many numbers its files hold; those that are tied are stored once."""
    return sum(prod(tensor.shape) for tensor in stored_tensors(files).values())


def of_a_token(*, widest: int, d_model: int, item: int) -> int:
    """Bytes per token while a layer runs: six times its widest map, and sixteen residuals."""
    return item * (6 * widest + 16 * d_model)


def least_memory(
    layers: Sequence[LayerShape], *, d_model: int, n_bytes: int, item: int, longest: int
) -> int:
    """What a run takes at the least: the weights, and one prompt of `longest` tokens in a layer.

    Nobody can do with less, so that a worker with less need not try. More makes it faster.
    """
    heads = max(layer.n_heads * max(layer.d_qk, layer.d_v) for layer in layers)
    widest = max(d_model, heads)
    return n_bytes + longest * of_a_token(widest=widest, d_model=d_model, item=item)
