"""Principal directions of what heads read at one site, and the variance along them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analyses import subspaces
from analyses.quantities import Quantity
from analyses.results import Component, Kind, NamedTensor, Resampled, ScoreKey
from analyses.subspaces import Bases, Floats
from analyses.variance_shares import ResampledVectors, about, share

if TYPE_CHECKING:
    from analyses.bootstrap import Draws

DIMS = 4  # leading directions whose coordinates are stored


@dataclass(frozen=True, kw_only=True)
class SiteBases:
    """The bases of queries, keys or values, and the vectors' coordinates in them."""

    site: str
    bases: Bases
    others: Bases  # of vectors at question tokens
    vectors: Floats  # [n, layer, head, d]; n runs over prompts, and over options of each
    coordinates: Floats  # [n, layer, head, dim], along the leading directions
    options: int  # vectors per prompt
    groups: Mapping[str, NDArray[np.integer]]  # groups of vectors, by what they share, [n]
    centred: NDArray[np.integer]  # vectors with equal numbers were centred together, [n]

    @property
    def kind(self) -> Kind:
        return Kind.HEAD if self.site == "q" else Kind.KV_HEAD

    def basis_tensors(self) -> dict[str, NamedTensor]:
        axes = ("layer", self.kind.value, "d_head")
        return {
            f"{self.site}_mean": NamedTensor(self.bases.mean, axes),
            f"{self.site}_basis": NamedTensor(self.bases.basis, (*axes, "rank")),
            f"{self.site}_other_basis": NamedTensor(self.others.basis, (*axes, "rank")),
            f"{self.site}_singular": NamedTensor(self.bases.singular, (*axes[:2], "rank")),
            f"{self.site}_rank": NamedTensor(self.bases.rank, axes[:2]),
            f"{self.site}_other_rank": NamedTensor(self.others.rank, axes[:2]),
        }

    def projection(self, there: NDArray[np.bool_]) -> NamedTensor:
        """Every prompt's coordinates along the leading directions; NaN where it was skipped."""
        split = self.coordinates.reshape(-1, self.options, *self.coordinates.shape[1:])
        whole = np.full((len(there), *split.shape[1:]), np.nan, dtype=np.float32)
        whole[there] = split
        axes = ("prompt", "option", "layer", self.kind.value, "dim")
        skipped = ~there.reshape(-1, *[1] * (whole.ndim - 1))
        if self.site == "q":
            return NamedTensor(whole[:, 0], (axes[0], *axes[2:]), missing=skipped[:, 0])
        return NamedTensor(whole, axes, missing=skipped)

    def numbers(self) -> dict[ScoreKey, float]:
        """The scores of the leading directions, and the rank of the data."""
        found = {
            Quantity("explained", self.site, {"by": name}): subspaces.explained(
                self.coordinates, of_each.tolist()
            )
            for name, of_each in self.groups.items()
        }
        spread = self.bases.singular.astype(np.float64) ** 2
        whole = spread.sum(-1, keepdims=True)
        shares = np.divide(spread, whole, out=np.zeros_like(spread), where=whole > 0)
        found[Quantity("variance_share", self.site)] = shares[..., : self.coordinates.shape[-1]]
        of_directions = {
            self._key(quantity, layer, index, x=dim + 1): float(value)
            for quantity, values in found.items()
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
        self, numbers: Mapping[ScoreKey, float], there: NDArray[np.bool_], draws: "Draws"
    ) -> Iterator[Resampled]:
        """The same scores along the same directions, in every resample of the prompts' items."""
        items = np.repeat(draws.item_of_prompt[there], self.options)
        again = ResampledVectors(items, draws)
        d = self.bases.basis.shape[-1]
        for layer in range(self.coordinates.shape[1]):
            x = self.coordinates[:, layer]
            whole = again.within(x, np.zeros_like(items))
            shares = {
                Quantity("explained", self.site, {"by": name}): 1
                - share(again.within(x, of_each), whole)
                for name, of_each in self.groups.items()
            }
            every = again.within(self._along(layer, d), self.centred)
            along = every[..., : x.shape[-1]]
            shares[Quantity("variance_share", self.site)] = share(
                along, every.sum(-1, keepdims=True) + 0 * along
            )
            for quantity, values in shares.items():
                for index, dim in np.ndindex(values.shape[1:]):
                    key = self._key(quantity, layer, index, x=dim + 1)
                    if key in numbers:
                        yield Resampled(key, about(numbers[key], values[:, index, dim]))

    def _along(self, layer: int, dims: int) -> Floats:
        """The coordinates of a layer's vectors along so many directions, [n, head, dim]."""
        away = self.vectors[:, layer] - self.bases.mean[layer]
        coordinates: Floats = np.einsum("nhd,hdr->nhr", away, self.bases.basis[layer, ..., :dims])
        return coordinates


def of_site(site: str, here: Mapping[str, Floats], *, per_index: bool) -> SiteBases:
    """The bases of one site; with `per_index` the keys of each option have their own mean."""
    vectors, options = here[site], 1
    centres = None
    groups = _groups(site, here)
    centred = np.zeros_like(groups["index"])
    if site != "q":
        options = vectors.shape[2]
        if site == "k" and per_index:
            centres = _flat(np.broadcast_to(vectors.mean(0), vectors.shape))
            centred = groups["index"]
        vectors = _flat(vectors)
    step = float(here["step"][0]) if "step" in here else 0.0
    bases = subspaces.principal(vectors, centres, step=step)
    return SiteBases(
        site=site,
        bases=bases,
        others=subspaces.principal(here[f"{site}_other"], step=step),
        vectors=vectors,
        coordinates=subspaces.projected(vectors, bases, DIMS),
        options=options,
        groups=groups,
        centred=centred,
    )


def _groups(site: str, here: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.integer]]:
    """Groups of vectors: options by index and symbol, queries by those of the correct option."""
    symbols, correct = here["symbols"], here["correct"]
    if site == "q":
        return {"index": correct, "symbol": symbols[np.arange(len(symbols)), correct]}
    prompts, options = symbols.shape
    return {"index": np.tile(np.arange(options), prompts), "symbol": symbols.ravel()}


def _flat(values: Floats) -> Floats:
    """[prompt, layer, option, …] as [prompt · option, layer, …]."""
    moved = np.moveaxis(values, 2, 1)
    return moved.reshape(-1, *moved.shape[2:])
