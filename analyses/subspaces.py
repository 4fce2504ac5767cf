"""Principal directions of vectors and the variance along them: docs/methods.md, section 11."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyses.plurals import counted
from analyses.results import Component, Kind, ScoreKey

Floats = NDArray[np.float32]
DATA_RANK = "data_rank"  # the metric
RANK_CONVENTION = (
    "how many singular values of the centred vectors are above max(n, d) · 2⁻²³ times the largest "
    "one of the same n vectors of d dimensions before they are centred, and above that times the "
    "rounding step of the model's dtype: what is below is rounding"
)
_VECTORS = {"q": "queries", "k": "keys", "v": "values"}


@dataclass(frozen=True, kw_only=True)
class Bases:
    """For every (layer, head), x_n = mean + Σ_i u_ni σ_i basis_i, by falling σ.

    Attributes:
        mean: [layer, head, d]
        basis: [layer, head, d, rank], orthonormal columns; those beyond the data's rank are zero.
        singular: [layer, head, rank], singular values of the centred vectors.
        rank: [layer, head], how many dimensions the centred vectors span.
    """

    mean: Floats
    basis: Floats
    singular: Floats
    rank: NDArray[np.int32]


def principal(vectors: Floats, centres: Floats | None = None, *, step: float = 0.0) -> Bases:
    """The principal directions of `vectors` [n, layer, head, d], by a singular value decomposition.

    They are centred by one mean, or by `centres` of the same shape. A column's largest entry is
    positive, so that equal vectors give equal signs. Computed in fp64. `step` is the relative
    rounding of the vectors, where they were computed in a coarser dtype than fp32.
    """
    x = vectors.astype(np.float64)
    mean = x.mean(0)
    away = np.moveaxis(x - (mean if centres is None else centres), 0, -2)  # [layer, head, n, d]
    n, d = away.shape[-2:]
    _, singular, rows = np.linalg.svd(away, full_matrices=n < d)
    singular = np.pad(singular, [(0, 0), (0, 0), (0, d - singular.shape[-1])])
    rank = _rank(singular, np.sqrt(n) * np.linalg.norm(mean, axis=-1), n, d, step)
    columns = np.swapaxes(rows, -1, -2)
    largest = np.take_along_axis(columns, np.abs(columns).argmax(-2)[..., None, :], axis=-2)
    signs = np.where(largest < 0, -1, 1)
    spanned = np.arange(d) < rank[..., None, None]
    return Bases(
        mean=mean.astype(np.float32),
        basis=(columns * signs * spanned).astype(np.float32),
        singular=singular.astype(np.float32),
        rank=rank,
    )


def _rank(
    singular: NDArray[np.float64], of_mean: NDArray[np.float64], n: int, d: int, step: float
) -> NDArray[np.int32]:
    """As numpy's `matrix_rank`, but relative to the size of the vectors with their mean.

    Vectors were rounded before they were centred: where all are equal, the rest is rounding.
    """
    size = np.maximum(singular[..., 0], of_mean)
    tolerance = max(max(n, d) * float(np.finfo(np.float32).eps), step) * size
    result: NDArray[np.int32] = (singular > tolerance[..., None]).sum(-1).astype(np.int32)
    return result


def too_few(means: Mapping[ScoreKey, float], wanted: Mapping[str, int]) -> list[str]:
    """A warning for each site whose vectors span fewer dimensions than are wanted."""
    short: dict[str, dict[Component, int]] = {}
    for key, rank in means.items():
        if key.quantity.metric == DATA_RANK and rank < wanted.get(key.quantity.site, 0):
            short.setdefault(key.quantity.site, {})[key.component] = round(rank)
    return [_said(site, ranks, wanted[site]) for site, ranks in sorted(short.items())]


def _said(site: str, ranks: Mapping[Component, int], wanted: int) -> str:
    fewest = min(ranks, key=lambda component: (ranks[component], component))
    whose = "key-value head" if fewest.kind is Kind.KV_HEAD else "head"
    return (
        f"The {_VECTORS[site]} that were learnt from span fewer than "
        f"{counted(wanted, 'dimension')} in {counted(len(ranks), whose)} (the fewest: "
        f"{ranks[fewest]} in {fewest.label}). What is beyond is rounding: ranks between that and "
        "the full one add nothing."
    )


def projected(vectors: Floats, bases: Bases, dims: int) -> Floats:
    """Coordinates along the leading directions, [n, layer, head, dim]."""
    away = vectors - bases.mean
    result: Floats = np.einsum("nlhd,lhdr->nlhr", away, bases.basis[..., :dims])
    return result


def explained(coordinates: Floats, groups: Sequence[int]) -> Floats:
    """The share of each coordinate's variance that lies between groups: [layer, head, dim].

    1 where every group has a single value, 0 where all groups have the same mean.

    >>> coordinates = np.array([0.0, 0.0, 2.0, 2.0], dtype=np.float32)
    >>> float(explained(coordinates, groups=[0, 0, 1, 1]))
    1.0
    >>> float(explained(coordinates, groups=[0, 1, 0, 1]))
    0.0
    """
    x = coordinates.astype(np.float64)
    whole = ((x - x.mean(0)) ** 2).sum(0)
    numbers = np.asarray(groups)
    between = sum(
        (numbers == group).sum() * (x[numbers == group].mean(0) - x.mean(0)) ** 2
        for group in np.unique(numbers)
    )
    share = np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0)
    result: Floats = share.astype(np.float32)
    return result


def random_bases(d: int, count: int, seed: Sequence[int]) -> Floats:
    """Uniformly random orthonormal bases, [count, d, d]; leading columns span random subspaces."""
    random = np.random.Generator(np.random.PCG64(list(seed)))
    q, r = np.linalg.qr(random.standard_normal((count, d, d)))
    signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    result: Floats = (q * signs[:, None, :]).astype(np.float32)
    return result
