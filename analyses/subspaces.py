"""Principal directions of stored vectors, and what tells along them; plain numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Bases:
    """Of every (layer, head): vectors x are mean + Σ basis_i σ_i …, the largest first.

    Attributes:
        mean: [layer, head, d]
        basis: [layer, head, d, rank], orthonormal columns; as many as d.
        singular: [layer, head, rank], singular values of the centred vectors.
    """

    mean: Floats
    basis: Floats
    singular: Floats


def principal(vectors: Floats, centres: Floats | None = None) -> Bases:
    """The principal directions of `vectors` [n, layer, head, d], by a singular value decomposition.

    They are centred by one mean, or by `centres` of the same shape. A column's largest entry is
    positive, so that the same vectors give the same signs. Summed in fp64.
    """
    x = vectors.astype(np.float64)
    mean = x.mean(0)
    away = np.moveaxis(x - (mean if centres is None else centres), 0, -2)  # [layer, head, n, d]
    _, singular, rows = np.linalg.svd(away, full_matrices=away.shape[-2] < away.shape[-1])
    columns = np.swapaxes(rows, -1, -2)
    largest = np.take_along_axis(columns, np.abs(columns).argmax(-2)[..., None, :], axis=-2)
    missing = columns.shape[-1] - singular.shape[-1]
    return Bases(
        mean=mean.astype(np.float32),
        basis=(columns * np.where(largest < 0, -1, 1)).astype(np.float32),
        singular=np.pad(singular, [(0, 0), (0, 0), (0, missing)]).astype(np.float32),
    )


def projected(vectors: Floats, bases: Bases, dims: int) -> Floats:
    """Coordinates along the leading directions, [n, layer, head, dim]."""
    away = vectors - bases.mean
    found: Floats = np.einsum("nlhd,lhdr->nlhr", away, bases.basis[..., :dims])
    return found


def explained(coordinates: Floats, groups: Sequence[int]) -> Floats:
    """The share of each coordinate's variance that lies between groups: [layer, head, dim].

    1 where every group has one value of its own, 0 where all groups have the same mean.
    """
    x = coordinates.astype(np.float64)
    whole = ((x - x.mean(0)) ** 2).sum(0)
    numbers = np.asarray(groups)
    between = sum(
        (numbers == group).sum() * (x[numbers == group].mean(0) - x.mean(0)) ** 2
        for group in np.unique(numbers)
    )
    share = np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0)
    found: Floats = share.astype(np.float32)
    return found


def random_bases(d: int, count: int, seed: Sequence[int]) -> Floats:
    """Orthonormal directions drawn alike from all: [count, d, d]; leading ones span subspaces."""
    random = np.random.Generator(np.random.PCG64(list(seed)))
    q, r = np.linalg.qr(random.standard_normal((count, d, d)))
    signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    found: Floats = (q * signs[:, None, :]).astype(np.float32)
    return found
