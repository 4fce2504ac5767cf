"""What heads read and components write, over many prompts: means and principal directions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses import effects, streaming, subspaces
from analyses.checkpoints.shapes import LayerShape, most
from analyses.errors import Refused
from analyses.prompts import key_sites
from analyses.prompts.key_sites import KeySite
from analyses.prompts.places import Places
from analyses.prompts.spec import DistributionSpec
from analyses.registry import ModelFacts, Params, analysis
from analyses.results import (
    MODEL,
    Component,
    Derived,
    Kind,
    Measured,
    NamedTensor,
    Resampled,
    ScoreKey,
)
from analyses.stored import LABEL_METRICS, Stored, StoredArray
from analyses.subspaces import Bases, Floats
from analyses.variance_shares import ResampledVectors, about, share

if TYPE_CHECKING:
    from analyses.bootstrap import Draws
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

DIMS = 4  # leading directions of which coordinates are kept
CONVENTIONS = {
    "q": "the query at the final position",
    "k, v": "keys and values at every option's `key_site`; one row for each key-value head",
    "centring": "queries and values by one mean; keys by one, or by each option's own",
    "other_tokens": "the same heads' vectors at one token of the question of every prompt",
    "data_rank": subspaces.RANK_CONVENTION,
    "directions": "as many as the data's rank; columns of a basis beyond it are zero, and nothing "
    "is said of them",
    "explained": "the share of a coordinate's variance that lies between groups: options by their "
    "index or symbol; queries by the right one's",
    "interval": "every resample of items is seen along the same directions; its shares are moved "
    "so that their mean is the share itself, since items that are drawn twice raise them",
    "means": "z, attn_out and mlp_out at the final position",
}


_READ = ((Kind.HEAD, "q"), (Kind.KV_HEAD, "k"), (Kind.KV_HEAD, "v"))
STORES = (
    Stored(
        metric="explained",
        meaning="the share of the variance along a leading direction that lies between options of "
        "different index, or of different symbol",
        unit="share",
        where=_READ,
        conditions=("by=index", "by=symbol"),
        x="the direction, from 1",
        sure=False,
    ),
    Stored(
        metric="variance_share",
        meaning="the share of all variance that lies along a leading direction",
        unit="share",
        where=_READ,
        x="the direction, from 1",
        sure=False,
    ),
    Stored(
        metric=subspaces.DATA_RANK,
        meaning="how many dimensions the centred vectors span",
        unit="dimensions",
        where=_READ,
        no_interval="it is counted of all vectors together; no resample has others",
    ),
    *LABEL_METRICS,
)


def _arrays() -> Iterator[StoredArray]:
    for site in ("q", "k", "v"):
        heads = ("layer", "head" if site == "q" else "kv_head")
        told = {
            "mean": (("d_head",), "the mean vector"),
            "basis": (
                ("d_head", "rank"),
                "orthonormal directions, those of most variance first; zero beyond the data's rank",
            ),
            "other_basis": (("d_head", "rank"), "the same of vectors at question tokens"),
            "rank": ((), "how many dimensions the centred vectors span"),
            "other_rank": ((), "the same of vectors at question tokens"),
        }
        for name, (more, meaning) in told.items():
            yield StoredArray(
                name=f"{site}_{name}", axes=(*heads, *more), meaning=f"{site}: {meaning}"
            )
        yield StoredArray(
            name=f"{site}_singular",
            axes=(*heads, "rank"),
            meaning=f"{site}: singular values of the centred vectors",
        )
        options = () if site == "q" else ("option",)
        yield StoredArray(
            name=f"{site}_projection",
            axes=("prompt", *options, *heads, "dim"),
            meaning=f"{site}: every vector's coordinates along the leading directions",
        )
    yield StoredArray(
        name="k_index_mean",
        axes=("layer", "option", "kv_head", "d_head"),
        meaning="k: the mean vector of each option by its place",
    )
    for site, axes in _AXES.items():
        yield StoredArray(
            name=f"{site}_mean", axes=axes, meaning=f"the mean of {site} at the final position"
        )
    yield StoredArray(name="symbols", axes=("prompt", "label"), meaning="the labels' token ids")
    yield StoredArray(name="correct", axes=("prompt",), meaning="the right option's place")


_AXES = {
    "z": ("layer", "head", "d_head"),
    "attn_out": ("layer", "d_model"),
    "mlp_out": ("layer", "d_model"),
}


class NotBeforeRotary(Refused):
    def __init__(self) -> None:
        super().__init__(
            "This model has no rotary embedding, or one whose queries and keys cannot be taken "
            "before it. Choose rotary=after."
        )


def _sizes(layer: LayerShape) -> LayerShape:
    return replace(layer, before_rotary=True)


class UnequalLayers(Refused):
    def __init__(self, layers: Sequence[LayerShape]) -> None:
        first = next(n for n, each in enumerate(layers) if _sizes(each) != _sizes(layers[0]))
        told = (
            f"layer {number} has {layer.n_heads} heads (key-value heads: {layer.n_kv_heads}), "
            f"{layer.d_qk} dimensions of queries and keys and {layer.d_v} of values"
            for number, layer in ((0, layers[0]), (first, layers[first]))
        )
        super().__init__(
            f"Bases of all layers need layers of one shape, and in this model {'; '.join(told)}. "
            f"What needs bases (subspace, label_randomisation, patching by means) cannot be had of "
            f"it; patch from source prompts or by zero."
        )


class BasesParams(Params):
    """Where vectors are looked at."""

    key_site: KeySite = Field(
        KeySite.LABEL,
        title="Key site",
        description="Which token of every option keys and values are read from.",
    )
    rotary: Literal["before", "after"] = Field(
        "before",
        title="Rotary embedding",
        description="Whether queries and keys are taken before rotary embedding or after it. "
        "Models without it have 'after' only.",
    )
    centring: Literal["global", "per_index"] = Field(
        "global",
        title="Centring of keys",
        description="By one mean, or by each option's: then rank 0 keeps every option's mean, "
        "which tells the n-th item of a list.",
    )

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `UnequalLayers` or `NotBeforeRotary`."""
        if len(set(map(_sizes, model.layers))) > 1:
            raise UnequalLayers(model.layers)
        if self.rotary == "before" and not most(model.layers).before_rotary:
            raise NotBeforeRotary

    def check_places(self, places: Places) -> None:
        """Raises `NoKeySite`."""
        key_sites.positions(places, self.key_site)


def derive(measured: Measured, params: BasesParams) -> Derived:
    """Means, bases and coordinates, from the vectors of all prompts together."""
    raw = {name: each.values for name, each in measured.tensors.items()}
    used_up = frozenset(raw) - {"symbols", "correct"}
    there = ~np.isnan(raw["q"]).any(axis=(1, 2, 3)) if raw else np.zeros(0, dtype=bool)
    if not there.any():
        return Derived(used_up=used_up)
    here = {name: values[there] for name, values in raw.items()}
    tensors = {
        f"{site}_mean": NamedTensor(
            here[site].mean(0, dtype=np.float64).astype(np.float32), _AXES[site]
        )
        for site in ("z", "attn_out", "mlp_out")
    }
    sites = [_of_site(site, here, params) for site in ("q", "k", "v")]
    numbers: dict[ScoreKey, float] = {}
    for of_site in sites:
        name = f"{of_site.site}_projection"
        tensors |= of_site.basis_tensors() | {name: of_site.projection(there)}
        numbers |= of_site.numbers()
    tensors["k_index_mean"] = NamedTensor(
        here["k"].mean(0, dtype=np.float64).astype(np.float32),
        ("layer", "option", "kv_head", "d_head"),
    )

    def resampled(draws: "Draws") -> Iterator[Resampled]:
        for of_site in sites:
            yield from of_site.resampled(numbers, there, draws)

    return Derived(numbers=numbers, resampled=resampled, tensors=tensors, used_up=used_up)


@dataclass(frozen=True, kw_only=True)
class _OfSite:
    """The bases of queries, keys or values, and the vectors in them."""

    site: str
    bases: Bases
    others: Bases  # of vectors at other tokens
    vectors: Floats  # [n, layer, head, d]; n runs over prompts, and over options of each
    coordinates: Floats  # [n, layer, head, dim], along the leading directions
    options: int  # vectors of a prompt
    groups: Mapping[str, NDArray[np.integer]]  # what options are grouped by, [n]
    centred: NDArray[np.integer]  # vectors with the same number have one mean, [n]

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
        """What tells along the leading directions, and how much of all variance they hold."""
        found = {
            ("explained", f"by={name}"): subspaces.explained(self.coordinates, of_each.tolist())
            for name, of_each in self.groups.items()
        }
        spread = self.bases.singular.astype(np.float64) ** 2
        whole = spread.sum(-1, keepdims=True)
        shares = np.divide(spread, whole, out=np.zeros_like(spread), where=whole > 0)
        found["variance_share", ""] = shares[..., : self.coordinates.shape[-1]]
        of_directions = {
            self._key(metric, layer, index, condition=condition, x=dim + 1): float(value)
            for (metric, condition), values in found.items()
            for (layer, index, dim), value in np.ndenumerate(values)
            if dim < self.bases.rank[layer, index]
        }
        ranks = {
            self._key(subspaces.DATA_RANK, layer, index): float(rank)
            for (layer, index), rank in np.ndenumerate(self.bases.rank)
        }
        return {**of_directions, **ranks}

    def _key(
        self, metric: str, layer: int, index: int, *, condition: str = "", x: float = 0.0
    ) -> ScoreKey:
        component = Component(kind=self.kind, layer=layer, index=index)
        return ScoreKey(
            component=component, metric=metric, site=self.site, condition=condition, x=x
        )

    def resampled(
        self, numbers: Mapping[ScoreKey, float], there: NDArray[np.bool_], draws: "Draws"
    ) -> Iterator[Resampled]:
        """The same along the same directions, in every resample of the prompts' items."""
        items = np.repeat(draws.item_of_prompt[there], self.options)
        again = ResampledVectors(items, draws)
        d = self.bases.basis.shape[-1]
        for layer in range(self.coordinates.shape[1]):
            x = self.coordinates[:, layer]
            whole = again.within(x, np.zeros_like(items))
            shares = {
                ("explained", f"by={name}"): 1 - share(again.within(x, of_each), whole)
                for name, of_each in self.groups.items()
            }
            every = again.within(self._along(layer, d), self.centred)
            along = every[..., : x.shape[-1]]
            shares["variance_share", ""] = share(along, every.sum(-1, keepdims=True) + 0 * along)
            for (metric, condition), values in shares.items():
                for index, dim in np.ndindex(values.shape[1:]):
                    key = self._key(metric, layer, index, condition=condition, x=dim + 1)
                    if key in numbers:
                        yield Resampled(key, about(numbers[key], values[:, index, dim]))

    def _along(self, layer: int, dims: int) -> Floats:
        """The coordinates of a layer's vectors along so many directions, [n, head, dim]."""
        away = self.vectors[:, layer] - self.bases.mean[layer]
        found: Floats = np.einsum("nhd,hdr->nhr", away, self.bases.basis[layer, ..., :dims])
        return found


def _of_site(site: str, here: Mapping[str, Floats], params: BasesParams) -> _OfSite:
    found, options = here[site], 1
    centres = None
    groups = _groups(site, here)
    centred = np.zeros_like(groups["index"])
    if site != "q":
        options = found.shape[2]
        if site == "k" and params.centring == "per_index":
            centres = _flat(np.broadcast_to(found.mean(0), found.shape))
            centred = groups["index"]
        found = _flat(found)
    step = float(here["step"][0]) if "step" in here else 0.0
    bases = subspaces.principal(found, centres, step=step)
    return _OfSite(
        site=site,
        bases=bases,
        others=subspaces.principal(here[f"{site}_other"], step=step),
        vectors=found,
        coordinates=subspaces.projected(found, bases, DIMS),
        options=options,
        groups=groups,
        centred=centred,
    )


def warned(means: Mapping[ScoreKey, float], params: BasesParams) -> list[str]:
    """Where there are fewer directions than those of which coordinates are kept."""
    return subspaces.too_few(means, dict.fromkeys(("q", "k", "v"), DIMS))


def _groups(site: str, here: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.integer]]:
    """What the vectors are grouped by: options by index and symbol, queries by the right one's."""
    symbols, correct = here["symbols"], here["correct"]
    if site == "q":
        return {"index": correct, "symbol": symbols[np.arange(len(symbols)), correct]}
    prompts, options = symbols.shape
    return {"index": np.tile(np.arange(options), prompts), "symbol": symbols.ravel()}


def _flat(values: Floats) -> Floats:
    """[prompt, layer, option, …] as [prompt · option, layer, …]."""
    moved = np.moveaxis(values, 2, 1)
    return moved.reshape(-1, *moved.shape[2:])


@analysis(
    "bases",
    version=2,
    params=BasesParams,
    conventions=CONVENTIONS,
    derive=derive,
    warns=warned,
    stores=STORES,
    arrays=tuple(_arrays()),
    plots={"projections": "analyses.pictures.projections:nth_item"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: "
    "low-rank query, key and value subspaces of correct-letter heads",
)
def bases(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: BasesParams,
    progress: Callable[[int], None],
) -> Measured:
    """Means and principal directions of what every head reads and every component writes.

    Vectors x_i of a head, one for each prompt (queries) or for each option of each prompt (keys and
    values), are centred, and their singular value decomposition

        x_i − mean  =  Σ_r σ_r u_ir b_r

    gives orthonormal directions b_1, b_2 … by falling variance. Other analyses confine heads to the
    leading ones.
    """
    from analyses.engine.recording import Keep

    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda together: _measure(lm, together, params),
        keep=Keep.POSITIONS,
    )


def _measure(lm: "LanguageModel", prompts: "Sequence[Example]", params: BasesParams) -> Measured:
    from analyses.engine.recording import Keep

    batch = lm.batch(prompts)
    recorded = lm.record(batch, keep=Keep.POSITIONS)
    step = np.full(len(prompts), lm.rounding_step, dtype=np.float32)
    before = params.rotary == "before"
    other = [(_other_token(each),) for each in prompts]
    sites = effects.positions(prompts, params.key_site)
    found = lm.vectors(recorded, sites, before_rotary=before)
    elsewhere = lm.vectors(recorded, other, before_rotary=before)
    queries = lm.queries(recorded, other, before_rotary=before)
    head, kv_head = ("prompt", "layer", "head", "d_head"), ("prompt", "layer", "kv_head", "d_head")
    keys = ("prompt", "layer", "option", "kv_head", "d_head")
    tensors = {
        "q": NamedTensor(found.q.cpu().numpy(), head),
        "k": NamedTensor(found.k.cpu().numpy(), keys),
        "v": NamedTensor(found.v.cpu().numpy(), keys),
        "q_other": NamedTensor(queries[:, :, 0].cpu().numpy(), head),
        "k_other": NamedTensor(elsewhere.k[:, :, 0].cpu().numpy(), kv_head),
        "v_other": NamedTensor(elsewhere.v[:, :, 0].cpu().numpy(), kv_head),
        "symbols": NamedTensor(batch.label_ids.cpu().numpy().astype(np.int32), ("prompt", "label")),
        "step": NamedTensor(step, ("prompt",)),  # of the dtype that vectors were computed in
        "correct": NamedTensor(batch.correct.cpu().numpy().astype(np.int32), ("prompt",)),
    }
    for site, axes in _AXES.items():
        values = [getattr(layer, site).cpu().numpy() for layer in recorded.layers]
        tensors[site] = NamedTensor(np.stack(values, axis=1), ("prompt", *axes))
    metrics = effects.of_recording(recorded, batch)
    return Measured(
        scores={ScoreKey(component=MODEL, metric=name): each for name, each in metrics.items()},
        tensors=tensors,
    )


def _other_token(prompt: "Example") -> int:
    """A token of the question, another in every prompt, the same whenever it is asked for."""
    places = prompt.places
    length = places.question_last - places.question_first + 1
    return places.question_first + prompt.number % length
