"""Principal directions of queries, keys or values of heads, and the variance along them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analyses import subspaces
from analyses.quantities import Quantity
from analyses.results import Component, Kind, NamedTensor, Resampled, ScoreKey
from analyses.subspaces import Bases, Floats
from analyses.variance_shares import ResampledVectors, share, shifted_to_mean

if TYPE_CHECKING:
    from analyses.bootstrap import Draws

DIMS = 4  # number of leading directions with stored coordinates
OF_KEYS = "key_symbols"  # the tensor with the tokens of keys that are not of options


@dataclass(frozen=True, kw_only=True)
class SiteBases:
    """The bases of queries, keys or values, and the vectors' coordinates in them."""

    site: str
    bases: Bases
    others: Bases  # of vectors at other tokens
    vectors: Floats  # [n, layer, head, d]; n runs over prompts, and over places of each
    coordinates: Floats  # [n, layer, head, dim], along the leading directions
    options: int  # vectors per prompt
    groups: Mapping[str, NDArray[np.integer]]  # groupings of the vectors by name, [n] each
    centred: NDArray[np.integer]  # vectors with equal numbers share a mean, [n]

    @property
    def kind(self) -> Kind:
        """The kind of component: keys and values belong to key-value heads."""
        return Kind.HEAD if self.site == "q" else Kind.KV_HEAD

    def basis_tensors(self) -> dict[str, NamedTensor]:
        """Means, bases, singular values and ranks, by tensor name."""
        axes = ("layer", self.kind.value, "d_head")
        return {
            f"{self.site}_mean": NamedTensor(self.bases.mean, axes),
            f"{self.site}_basis": NamedTensor(self.bases.basis, (*axes, "rank")),
            f"{self.site}_other_basis": NamedTensor(self.others.basis, (*axes, "rank")),
            f"{self.site}_singular": NamedTensor(self.bases.singular, (*axes[:2], "rank")),
            f"{self.site}_rank": NamedTensor(self.bases.rank, axes[:2]),
            f"{self.site}_other_rank": NamedTensor(self.others.rank, axes[:2]),
        }

    def projection(self, counted: NDArray[np.bool_]) -> NamedTensor:
        """Every prompt's coordinates along the leading directions; NaN if it was skipped.

        `counted` [prompt] is false for skipped prompts.
        """
        split = self.coordinates.reshape(-1, self.options, *self.coordinates.shape[1:])
        whole = np.full((len(counted), *split.shape[1:]), np.nan, dtype=np.float32)
        whole[counted] = split
        axes = ("prompt", "option", "layer", self.kind.value, "dim")
        skipped = ~counted.reshape(-1, *[1] * (whole.ndim - 1))
        if self.site == "q":
            return NamedTensor(whole[:, 0], (axes[0], *axes[2:]), missing=skipped[:, 0])
        return NamedTensor(whole, axes, missing=skipped)

    def numbers(self) -> dict[ScoreKey, float]:
        """The scores of the leading directions, and the rank of the data."""
        by_quantity = {
            Quantity("explained", self.site, {"by": name}): subspaces.explained(
                self.coordinates, numbers.tolist()
            )
            for name, numbers in self.groups.items()
        }
        variances = self.bases.singular.astype(np.float64) ** 2
        total = variances.sum(-1, keepdims=True)
        shares = np.divide(variances, total, out=np.zeros_like(variances), where=total > 0)
        by_quantity[Quantity("variance_share", self.site)] = shares[
            ..., : self.coordinates.shape[-1]
        ]
        of_directions = {
            self._key(quantity, layer, index, x=dim + 1): float(value)
            for quantity, values in by_quantity.items()
            for (layer, index, dim), value in np.ndenumerate(values)
            if dim < self.bases.rank[layer, index]
        }
        ranks = {
            self._key(Quantity(subspaces.DATA_RANK, self.site), layer, index): float(rank)
            for (layer, index), rank in np.ndenumerate(self.bases.rank)
        }
        return {**of_directions, **ranks}

    def _key(self, quantity: Quantity, layer: int, index: int, x: float = 0.0) -> ScoreKey:
        return ScoreKey(Component(kind=self.kind, layer=layer, index=index), quantity, x=x)

    def resampled(
        self, numbers: Mapping[ScoreKey, float], counted: NDArray[np.bool_], draws: "Draws"
    ) -> Iterator[Resampled]:
        """The same scores along the same directions, in every resample of the prompts' items."""
        items = np.repeat(draws.item_of_prompt[counted], self.options)
        resampled = ResampledVectors(items, draws)
        d = self.bases.basis.shape[-1]
        for layer in range(self.coordinates.shape[1]):
            x = self.coordinates[:, layer]
            total = resampled.within(x, np.zeros_like(items))
            shares = {
                Quantity("explained", self.site, {"by": name}): 1
                - share(resampled.within(x, group), total)
                for name, group in self.groups.items()
            }
            every = resampled.within(self._along(layer, d), self.centred)
            along = every[..., : x.shape[-1]]
            shares[Quantity("variance_share", self.site)] = share(
                along, every.sum(-1, keepdims=True) + 0 * along
            )
            for quantity, values in shares.items():
                for index, dim in np.ndindex(values.shape[1:]):
                    key = self._key(quantity, layer, index, x=dim + 1)
                    if key in numbers:
                        yield Resampled(key, shifted_to_mean(numbers[key], values[:, index, dim]))

    def _along(self, layer: int, dims: int) -> Floats:
        """Coordinates of a layer's vectors along the first `dims` directions, [n, head, dim]."""
        centred = self.vectors[:, layer] - self.bases.mean[layer]
        coordinates: Floats = np.einsum(
            "nhd,hdr->nhr", centred, self.bases.basis[layer, ..., :dims]
        )
        return coordinates


def of_site(site: str, tensors: Mapping[str, Floats], *, per_index: bool) -> SiteBases:
    """The bases of one site; with `per_index` the keys of each option are centred by themselves."""
    vectors, options = tensors[site], 1
    centres = None
    if site != "q":
        options = vectors.shape[2]
        if site == "k" and per_index:
            centres = _flat(np.broadcast_to(vectors.mean(0), vectors.shape))
        vectors = _flat(vectors)
    index = np.tile(np.arange(options), len(vectors) // options)
    step = float(tensors["step"][0]) if "step" in tensors else 0.0
    bases = subspaces.principal(vectors, centres, step=step)
    return SiteBases(
        site=site,
        bases=bases,
        others=subspaces.principal(tensors[f"{site}_other"], step=step),
        vectors=vectors,
        coordinates=subspaces.projected(vectors, bases, DIMS),
        options=options,
        groups=_groups(site, tensors),
        centred=np.zeros_like(index) if centres is None else index,
    )


def _groups(site: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.integer]]:
    """Groupings of vectors by the option's index and symbol; for queries, the correct option's.

    Of keys that are not of options there is no index, and the symbol is their own token.
    """
    symbols, correct = tensors["symbols"], tensors["correct"]
    of_correct = symbols[np.arange(len(symbols)), correct]
    if OF_KEYS in tensors:
        return {"symbol": of_correct if site == "q" else tensors[OF_KEYS].ravel()}
    if site == "q":
        return {"index": correct, "symbol": of_correct}
    prompts, options = symbols.shape
    return {"index": np.tile(np.arange(options), prompts), "symbol": symbols.ravel()}


def _flat(values: Floats) -> Floats:
    """Reshape [prompt, layer, option, …] to [prompt · option, layer, …]."""
    moved = np.moveaxis(values, 2, 1)
    return moved.reshape(-1, *moved.shape[2:])
