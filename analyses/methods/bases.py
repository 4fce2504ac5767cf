"""Means and principal directions of what heads read and components write, over many prompts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses import effects, prompt_sums, streaming, subspaces
from analyses.checkpoints.shapes import LayerShape, most
from analyses.errors import Refused
from analyses.prompts import key_sites
from analyses.prompts.key_sites import KeySite, SiteName
from analyses.prompts.places import Places, check_site
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Params, analysis
from analyses.results import (
    MODEL,
    Derived,
    Kind,
    Measured,
    NamedTensor,
    Resampled,
    ScoreKey,
)
from analyses.site_bases import DIMS, OF_KEYS, SiteBases, of_site
from analyses.stored import LABEL_METRICS, ScoreDescription, TensorDescription

if TYPE_CHECKING:
    from torch import Tensor

    from analyses.bootstrap import Draws
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

CONVENTIONS = {
    "q": "the query at the final position",
    "k, v": "keys and values at every option's `key_site`, or at that span; one row for each "
    "key-value head",
    "centring": "queries and values by one mean; keys by one, or by each option's own",
    "other_tokens": "the same heads' vectors at one question token of each prompt, or at a token "
    "of no span",
    "data_rank": subspaces.RANK_CONVENTION,
    "directions": "as many as the data's rank; columns of a basis beyond it are zero and have no "
    "scores",
    "explained": "the share of a coordinate's variance that lies between groups: options by their "
    "index or symbol; queries by those of the correct option. Of completions, keys and values by "
    "the token at the span and queries by the first correct candidate",
    "interval": "resamples of items use the same directions; their shares are shifted so that "
    "their mean is the share itself, since items that are drawn twice bias them upwards",
    "means": "z, attn_out and mlp_out at the final position",
}


_READ = ((Kind.HEAD, "q"), (Kind.KV_HEAD, "k"), (Kind.KV_HEAD, "v"))
STORES = (
    ScoreDescription(
        metric="explained",
        meaning="the share of the variance along a leading direction that lies between options of "
        "different index (of questions only), or of different symbol",
        unit="share",
        where=_READ,
        varied=({"by": "index"}, {"by": "symbol"}),
        x="the direction, from 1",
        sure=False,
    ),
    ScoreDescription(
        metric="variance_share",
        meaning="the share of the total variance that lies along a leading direction",
        unit="share",
        where=_READ,
        x="the direction, from 1",
        sure=False,
    ),
    ScoreDescription(
        metric=subspaces.DATA_RANK,
        meaning="how many dimensions the centred vectors span",
        unit="dimensions",
        where=_READ,
        no_interval="the rank is that of all vectors together, which resampling does not change",
    ),
    *LABEL_METRICS,
)


def _arrays() -> Iterator[TensorDescription]:
    for site in ("q", "k", "v"):
        heads = ("layer", "head" if site == "q" else "kv_head")
        meanings = {
            "mean": (("d_head",), "the mean vector"),
            "basis": (
                ("d_head", "rank"),
                "orthonormal directions by descending variance; zero beyond the data's rank",
            ),
            "other_basis": (("d_head", "rank"), "the same of vectors at other tokens"),
            "rank": ((), "how many dimensions the centred vectors span"),
            "other_rank": ((), "the same of vectors at other tokens"),
        }
        for name, (more, meaning) in meanings.items():
            yield TensorDescription(
                name=f"{site}_{name}", axes=(*heads, *more), meaning=f"{site}: {meaning}"
            )
        yield TensorDescription(
            name=f"{site}_singular",
            axes=(*heads, "rank"),
            meaning=f"{site}: singular values of the centred vectors",
        )
        options = () if site == "q" else ("option",)
        yield TensorDescription(
            name=f"{site}_projection",
            axes=("prompt", *options, *heads, "dim"),
            meaning=f"{site}: every vector's coordinates along the leading directions",
        )
    yield TensorDescription(
        name="k_index_mean",
        axes=("layer", "option", "kv_head", "d_head"),
        meaning="k: the mean vector of each option, by its index; of completions there is one",
    )
    for site, axes in _AXES.items():
        yield TensorDescription(
            name=f"{site}_mean", axes=axes, meaning=f"the mean of {site} at the final position"
        )
    yield TensorDescription(
        name="symbols", axes=("prompt", "label"), meaning="the labels' token ids"
    )
    yield TensorDescription(
        name="correct",
        axes=("prompt",),
        meaning="the index of the correct label; of several, the first",
    )


_AXES = {
    "z": ("layer", "head", "d_head"),
    "attn_out": ("layer", "d_model"),
    "mlp_out": ("layer", "d_model"),
}


class NotBeforeRotary(Refused):
    def __init__(self) -> None:
        super().__init__(
            "Queries and keys before the rotary embedding are not available in this model: it has "
            "no rotary embedding, or an unsupported one. Choose rotary=after."
        )


def _sizes(layer: LayerShape) -> LayerShape:
    return replace(layer, before_rotary=True)


class UnequalLayers(Refused):
    def __init__(self, layers: Sequence[LayerShape]) -> None:
        first = next(n for n, each in enumerate(layers) if _sizes(each) != _sizes(layers[0]))
        shapes = (
            f"layer {number} has {layer.n_heads} heads (key-value heads: {layer.n_kv_heads}), "
            f"{layer.d_qk} dimensions of queries and keys and {layer.d_v} of values"
            for number, layer in ((0, layers[0]), (first, layers[first]))
        )
        super().__init__(
            f"Bases need layers of the same shape, but in this model {'; '.join(shapes)}. "
            f"Analyses that need bases (subspace, label_randomisation, mean ablation) cannot run "
            f"on it; patch from source prompts or ablate by zero."
        )


class BasesParams(Params):
    """Which vectors are used, and how they are centred."""

    key_site: SiteName = Field(
        KeySite.LABEL.value,
        title="Key site",
        description="Where keys and values are taken: of questions at this token of each option "
        "(label, bracket, content_end, option_end), of completions at the last token of this span, "
        "or of the text (final).",
    )
    rotary: Literal["before", "after"] = Field(
        "before",
        title="Rotary embedding",
        description="Whether queries and keys are taken before or after the rotary embedding. "
        "Models without one only have 'after'.",
    )
    centring: Literal["global", "per_index"] = Field(
        "global",
        title="Centring of keys",
        description="By one mean, or by one mean per option: then rank 0 keeps the mean of each "
        "option, which encodes the n-th item of a list.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return key_sites.usual(spec)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `UnequalLayers` or `NotBeforeRotary` if the model does not allow these bases."""
        if len(set(map(_sizes, model.layers))) > 1:
            raise UnequalLayers(model.layers)
        if self.rotary == "before" and not most(model.layers).before_rotary:
            raise NotBeforeRotary

    def check_places(self, places: Places) -> None:
        """Raises `UnknownSite`, or `NoKeySite` if an option has no token at the key site."""
        check_site("key_site", self.key_site, places)


def derive(measured: Measured, params: BasesParams) -> Derived:
    """Means, bases and coordinates, from the vectors of all prompts together."""
    used_up = frozenset(measured.tensors) - {"symbols", "correct"}
    counted = _counted(measured.tensors)
    if not counted.any():
        return Derived(used_up=used_up)

    # Tensors are large: each is loaded when it is needed and released afterwards.
    def load(name: str) -> NDArray[Any]:
        values = measured.tensors[name].values
        return values if counted.all() else values[counted]

    tensors = {
        f"{site}_mean": NamedTensor(_mean_of_sums(measured.tensors, site, counted), axes)
        for site, axes in _AXES.items()
    }
    per_index = params.centring == "per_index"
    sites: list[SiteBases] = []
    numbers: dict[ScoreKey, float] = {}
    for site in ("q", "k", "v"):
        own = {site, f"{site}_other", OF_KEYS, "symbols", "correct", "step"}
        names = own & measured.tensors.keys()
        vectors = {name: load(name) for name in names}
        each = of_site(site, vectors, per_index=per_index)
        projection = {f"{site}_projection": each.projection(counted)}
        tensors |= each.basis_tensors() | projection
        numbers |= each.numbers()
        sites.append(each)
        if site == "k":
            axes = ("layer", "option", "kv_head", "d_head")
            tensors["k_index_mean"] = NamedTensor(_mean(vectors[site]), axes)

    def resampled(draws: "Draws") -> Iterator[Resampled]:
        for each in sites:
            yield from each.resampled(numbers, counted, draws)

    return Derived(numbers=numbers, resampled=resampled, tensors=tensors, used_up=used_up)


def _counted(tensors: Mapping[str, NamedTensor]) -> NDArray[np.bool_]:
    """Whether each prompt was measured, not skipped: [prompt]."""
    if not tensors:
        return np.zeros(0, dtype=bool)
    values = tensors["k_other"].values  # the smallest tensor that is NaN for skipped prompts
    counted: NDArray[np.bool_] = ~np.isnan(values).any(axis=tuple(range(1, values.ndim)))
    return counted


def _mean_of_sums(
    tensors: Mapping[str, NamedTensor], site: str, counted: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The mean over the counted prompts, from the sums of the parts."""
    sums = [tensors[f"{site}_sum"].values] if f"{site}_sum" in tensors else []
    if site in tensors:  # parts measured by older versions have a row for each prompt
        rows = tensors[site].values[counted]
        sums.append(prompt_sums.summed(rows[~np.isnan(rows).any(tuple(range(1, rows.ndim)))]))
    return prompt_sums.mean(prompt_sums.added(sums), int(counted.sum()))


def _mean(values: NDArray[Any]) -> NDArray[np.float32]:
    """The mean over prompts, summed in fp64."""
    mean: NDArray[np.float32] = values.mean(0, dtype=np.float64).astype(np.float32)
    return mean


def warned(means: Mapping[ScoreKey, float], params: BasesParams) -> list[str]:
    """Warn if there are fewer directions than stored coordinates."""
    return subspaces.too_few(means, dict.fromkeys(("q", "k", "v"), DIMS))


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
    values; of a completion, for one span), are centred, and their singular value decomposition

        x_i − mean  =  Σ_r σ_r u_ir b_r

    gives orthonormal directions b_1, b_2 … by descending variance. Other analyses confine heads to
    the leading ones.
    """
    from analyses.engine.recording import Keep

    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda batch: _measure(lm, batch, params),
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
    vectors = lm.vectors(recorded, sites, before_rotary=before)
    others = lm.vectors(recorded, other, before_rotary=before)
    queries = lm.queries(recorded, other, before_rotary=before)
    head, kv_head = ("prompt", "layer", "head", "d_head"), ("prompt", "layer", "kv_head", "d_head")
    keys = ("prompt", "layer", "option", "kv_head", "d_head")
    tensors = {
        "q": NamedTensor(vectors.q.cpu().numpy(), head),
        "k": NamedTensor(vectors.k.cpu().numpy(), keys),
        "v": NamedTensor(vectors.v.cpu().numpy(), keys),
        "q_other": NamedTensor(queries[:, :, 0].cpu().numpy(), head),
        "k_other": NamedTensor(others.k[:, :, 0].cpu().numpy(), kv_head),
        "v_other": NamedTensor(others.v[:, :, 0].cpu().numpy(), kv_head),
        "symbols": NamedTensor(batch.label_ids.cpu().numpy().astype(np.int32), ("prompt", "label")),
        "step": NamedTensor(step, ("prompt",)),  # rounding step of the dtype of the vectors
        "correct": NamedTensor(_first(batch.correct), ("prompt",)),
        **_of_keys(prompts, sites),
    }
    for site, axes in _AXES.items():  # only the means of these are needed
        values = [getattr(layer, site).cpu().numpy() for layer in recorded.layers]
        total = prompt_sums.summed(np.stack(values, axis=1))
        tensors[f"{site}_sum"] = NamedTensor(total, (prompt_sums.AXIS, *axes))
    metrics = effects.of_recording(recorded, batch)
    return Measured(
        scores={ScoreKey(MODEL, Quantity(name)): each for name, each in metrics.items()},
        tensors=tensors,
    )


def _first(correct: "Tensor") -> NDArray[np.int32]:
    """The index of the first correct label: [prompt]."""
    first: NDArray[np.int32] = correct.int().argmax(-1).cpu().numpy().astype(np.int32)
    return first


def _of_keys(prompts: "Sequence[Example]", sites: effects.At) -> dict[str, NamedTensor]:
    """The token of every key, where keys are not those of the labels' options."""
    if len(sites[0]) == len(prompts[0].labels):
        return {}
    ids = [[each.input_ids[place] for place in at] for each, at in zip(prompts, sites, strict=True)]
    return {OF_KEYS: NamedTensor(np.array(ids, dtype=np.int32), ("prompt", "option"))}


def _other_token(prompt: "Example") -> int:
    """A token without a role, varying between prompts but fixed for each prompt."""
    others = prompt.places.filler
    return others[prompt.number % len(others)]
