"""Heads confined to subspaces: their queries, keys and values projected around learnt means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses.checkpoints.shapes import LayerShape, ModelShape, most
from analyses.effects import At
from analyses.errors import Refused
from analyses.heads import HeadParams, NothingLearnt
from analyses.prompts import key_sites
from analyses.prompts.key_sites import KeySite, SiteName
from analyses.prompts.places import Places, check_site
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import Need
from analyses.results import Component, Kind, NamedTensor, ScoreKey
from analyses.stored import ScoreDescription
from analyses.subspaces import DATA_RANK, Floats

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention, Patch, Path

SET = Component(kind=Kind.SET)
BASES = "bases"  # the need that subspaces come from
COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "q": ("q",),
    "k": ("k",),
    "v": ("v",),
    "qk": ("q", "k"),
    "qkv": ("q", "k", "v"),
}
Basis = Callable[[Component, str], Floats]  # of a head and a site: [d, rank]
READ = ("q", "k", "v")
RANK_STORED = ScoreDescription(
    metric=DATA_RANK,
    meaning="how many dimensions the vectors span that the basis was learnt from",
    unit="dimensions",
    where=tuple((Kind.HEAD, site) for site in READ),
    no_interval="it is of the prompts that the basis was learnt from, not of these",
)
BEYOND_THE_DATA = (
    "ranks beyond the data's rank, up to full rank, are that rank: there are no more directions; "
    "placebos have as many as there are"
)


class RankTooLarge(Refused):
    def __init__(self, rank: int, sites: Sequence[str], d: int) -> None:
        super().__init__(
            f"No rank {rank}: a head's {' and '.join(sites)} have {d} dimensions. Choose from 0 to "
            f"{d}."
        )


class ConfinedParams(HeadParams):
    """Parameters of analyses that confine what heads read to learnt subspaces."""

    key_site: SiteName = Field(
        KeySite.LABEL.value,
        title="Key site",
        description="Where keys and values are read: of questions at this token of every option "
        "(label, bracket, content_end, option_end), of completions at the last token of this span.",
    )
    rotary: Literal["before", "after"] = Field(
        "before",
        title="Rotary embedding",
        description="Whether queries and keys are confined before rotary embedding or after it. "
        "Models without it have 'after' only.",
    )
    centring: Literal["global", "per_index"] = Field(
        "global",
        title="Centring of keys",
        description="By one mean, or by each option's: then rank 0 keeps every option's mean, "
        "which tells the n-th item of a list.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return {**super().usual(spec), **key_sites.usual(spec)}

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The strongest heads, and bases, both of the prompts to learn from."""
        params = {
            "key_site": self.key_site,
            "rotary": self.rotary,
            "centring": self.centring,
            "batch_size": self.batch_size,
            "prompts": self.prompts,
        }
        learnt = self.learnt_from(spec)
        bases = Need(name=BASES, analysis="bases", params=params, distribution=learnt)
        return (*super().needs(spec), bases)

    def check_places(self, places: Places) -> None:
        """Raises `UnknownSite` or `NoKeySite`."""
        check_site("key_site", self.key_site, places)


def full_rank(layers: Sequence[LayerShape], sites: Sequence[str]) -> int:
    """The rank at which no dimension of these sites is lost; queries and values may differ."""
    return max(most(layers).width(site) for site in sites)


def groups(heads: tuple[Component, ...]) -> dict[Component, tuple[Component, ...]]:
    """Each head alone, and all of them together."""
    return {**{head: (head,) for head in heads}, SET: heads}


@dataclass(frozen=True)
class Confinement:
    """Interventions that confine heads of a model, on some prompts, to learnt subspaces."""

    shape: ModelShape
    tensors: Mapping[str, NamedTensor]  # of a run of bases
    at: At  # the key site: of every option, or of a span
    params: ConfinedParams

    def __post_init__(self) -> None:
        """Raises `NothingLearnt`."""
        if not self.tensors:
            raise NothingLearnt(BASES)

    def learnt(self, rank: int) -> Basis:
        """The leading directions, up to the data's rank; at full rank the identity."""

        def basis(head: Component, site: str) -> Floats:
            if rank >= self.width(site):
                return np.eye(self.width(site), dtype=np.float32)
            return self._leading(f"{site}_basis", head, site, rank)

        return basis

    def of_other_tokens(self, rank: int) -> Basis:
        """The leading directions of the same head's vectors at other tokens."""
        return lambda head, site: self._leading(f"{site}_other_basis", head, site, rank)

    def drawn(self, draws: Mapping[tuple[Component, int], Floats], draw: int, rank: int) -> Basis:
        """A random subspace: the first directions of one of the draws, [draw, d, d]."""
        return lambda head, site: draws[head, self.width(site)][draw][
            :, : min(rank, self.data_rank(head, site))
        ]

    def data_rank(self, head: Component, site: str) -> int:
        """How many directions were learnt for a head."""
        return int(self._of(f"{site}_rank", head, site))

    def data_ranks(
        self, heads: Sequence[Component], prompts: int
    ) -> dict[ScoreKey, NDArray[np.float32]]:
        """The data's rank of every head and site, equal for all prompts."""
        return {
            ScoreKey(head, Quantity(DATA_RANK, site)): np.full(
                prompts, self.data_rank(head, site), dtype=np.float32
            )
            for head in heads
            for site in READ
        }

    def width(self, site: str) -> int:
        """The dimensions of a head's vectors, equal in every layer where bases were learnt."""
        return self.shape.layers[0].width(site)

    def full_rank(self, sites: Sequence[str]) -> int:
        return full_rank(self.shape.layers, sites)

    def confined(
        self,
        heads: Sequence[Component],
        sites: Sequence[str],
        basis: Basis,
        path: "Path | None" = None,
    ) -> "Intervention":
        """The intervention under which these heads read these sites in their subspaces only."""
        from analyses.engine.interventions import Intervention, Path

        patches = [
            patch
            for head in heads
            for site in sites
            for patch in self._patches(head, site, basis(head, site))
        ]
        return Intervention(tuple(patches), path or Path.TOTAL)

    def ablated(self, heads: Sequence[Component]) -> "Intervention":
        """The intervention that sets the heads' z to its mean, on the direct path."""
        from analyses.engine.interventions import Intervention, Patch, Path, Site, constant

        means = self.tensors["z_mean"].values
        patches = [
            Patch(
                site=Site.Z,
                layer=head.layer,
                head=head.index,
                value=constant(means[head.layer, head.index]),
            )
            for head in heads
        ]
        return Intervention(tuple(patches), Path.DIRECT)

    def _patches(self, head: Component, site: str, basis: Floats) -> "list[Patch]":
        from analyses.engine.interventions import Patch, Site, subspace

        def patch(mean: Floats, at: At | None) -> Patch:
            return Patch(
                site=Site(site),
                layer=head.layer,
                head=head.index,
                value=subspace(mean, basis),
                at=at,
                before_rotary=site != "v" and self.params.rotary == "before",
            )

        if site == "q":
            return [patch(self._of("q_mean", head, site), None)]
        if site == "k" and self.params.centring == "per_index":
            means = self.tensors["k_index_mean"].values[head.layer, :, self._kv(head)]
            return [
                patch(mean, tuple((each[option],) for each in self.at))
                for option, mean in enumerate(means)
            ]
        return [patch(self._of(f"{site}_mean", head, site), self.at)]

    def _leading(self, name: str, head: Component, site: str, rank: int) -> Floats:
        """At most as many as were learnt at labels, so that placebos have equally many."""
        return self._of(name, head, site)[:, : min(rank, self.data_rank(head, site))]

    def _of(self, name: str, head: Component, site: str) -> Floats:
        index = head.index if site == "q" else self._kv(head)
        found: Floats = self.tensors[name].values[head.layer, index]
        return found

    def _kv(self, head: Component) -> int:
        """The key-value head of a head's group."""
        return self.shape.layers[head.layer].kv_head(head.index)
