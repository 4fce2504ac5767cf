"""How few dimensions of what heads read are enough: the rank sweep."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from analyses import effects, streaming, subspaces
from analyses.confined import (
    BASES,
    BEYOND_THE_DATA,
    COMBINATIONS,
    RANK_STORED,
    ConfinedParams,
    Confinement,
    RankTooLarge,
    full_rank,
    groups,
)
from analyses.effects import PatchContext
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.registry import ModelFacts, analysis
from analyses.results import MODEL, Component, Kind, Measured, Result, ScoreKey
from analyses.stored import LABEL_METRICS, NOOP_EFFECT, Stored, at, under

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention, Path
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

NONE = Varied()
RANDOM, OTHER = Varied({"placebo": "random"}), Varied({"placebo": "other_tokens"})
ENOUGH = 0.95  # of the effect
OF_A_ROW = ("q", "k", "qk")  # what decides where a head looks
CONVENTIONS = {
    "x": "the rank",
    "site": "what is confined: q, k, v, q and k, or all three; of one head, or of the whole set",
    "position": "the query of the final position, and its read of every option's `key_site`; no "
    "other position sees the change",
    "rank 0": "the mean of the vectors that the bases were learnt from, or each option's own mean "
    "of keys where centring is per_index",
    "full rank": "the vectors themselves: as many dimensions as the widest of what is confined has",
    "data_rank": subspaces.RANK_CONVENTION,
    "x beyond data_rank": BEYOND_THE_DATA,
    "key_value_heads": "bases of keys and values are those of a head's group; only this head's "
    "reads change",
    RANDOM.text: "the mean over random subspaces of the same rank, around the same mean",
    OTHER.text: "the leading directions of the same head's vectors at question tokens",
    "direct_effect": "logit_diff along the heads' own direct path, above that with z at its "
    "mean; direct_kept is its share of what it is in the model as it is",
    "attention_kl": "KL of a head's row of attention as it is from its row with the head confined "
    "alone; nats, a sink as one more key",
    "rank_needed": "the smallest rank whose logit_diff is 95 % of the way from rank 0 to full "
    "rank; none where that way may be zero",
}


_CONFINED = tuple((kind, site) for kind in (Kind.HEAD, Kind.SET) for site in COMBINATIONS)
STORES = (
    *under(at(LABEL_METRICS, *_CONFINED, x="the rank"), NONE, RANDOM, OTHER),
    *LABEL_METRICS,
    NOOP_EFFECT,
    Stored(
        metric="direct_effect",
        meaning="logit_diff along the heads' own direct path above that with z at its mean; of z: "
        "in the model as it is",
        unit="logits",
        where=(*_CONFINED, (Kind.HEAD, "z"), (Kind.SET, "z")),
        x="the rank",
    ),
    Stored(
        metric="gained",
        meaning="logit_diff above that at rank 0",
        unit="logits",
        where=_CONFINED,
        varied=(NONE, RANDOM, OTHER),
        x="the rank",
    ),
    Stored(
        metric="gain",
        meaning="logit_diff of the model as it is above that at rank 0",
        unit="logits",
        where=_CONFINED,
    ),
    Stored(
        metric="kept",
        meaning="gained over gain: the share of what all dimensions do that is left",
        unit="share",
        where=_CONFINED,
        varied=(NONE, RANDOM, OTHER),
        x="the rank",
    ),
    Stored(
        metric="direct_kept",
        meaning="the share of the direct effect that is left",
        unit="share",
        where=_CONFINED,
        x="the rank",
    ),
    Stored(
        metric="attention_kl",
        meaning="KL of the head's row of attention as it is from the row when it is confined",
        unit="nats",
        where=tuple((Kind.HEAD, site) for site in OF_A_ROW),
        x="the rank",
    ),
    Stored(
        metric="rank_needed",
        meaning="the smallest rank that does 95 % of what all dimensions do above none; not there "
        "where no rank that was tried does, or where none does as well",
        where=_CONFINED,
        varied=(NONE, RANDOM, OTHER),
        x="the share",
        sure=False,
    ),
    RANK_STORED,
    Stored(
        metric="in_set",
        meaning="1 for every head of the set",
        where=((Kind.HEAD, ""),),
        no_interval="the set is chosen before anything is measured",
    ),
)


class SubspaceParams(ConfinedParams):
    """Which heads, which ranks, beside which placebos."""

    ranks: tuple[int, ...] = Field(
        (),
        max_length=512,
        title="Ranks",
        description="None: all from 0 to as many as what is confined has dimensions. 0 and full "
        "rank are always there.",
    )
    placebos: int = Field(
        20,
        ge=20,
        le=200,
        title="Random subspaces",
        description="How many of each rank stand beside the learnt one.",
    )
    placebo_ranks: tuple[int, ...] = Field(
        (1, 2, 3, 4),
        max_length=64,
        title="Placebo ranks",
        description="The ranks at which random and other subspaces are tried.",
    )

    @field_validator("ranks", "placebo_ranks")
    @classmethod
    def _sorted(cls, ranks: tuple[int, ...]) -> tuple[int, ...]:
        if any(rank < 0 for rank in ranks):
            raise ValueError("ranks are not negative")
        return tuple(sorted(set(ranks)))

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `RankTooLarge`, and what is wrong with heads or prompts."""
        super().check(model, spec)
        largest, sites = max(self.ranks, default=0), COMBINATIONS["qkv"]
        full = full_rank(model.layers, sites)
        if largest > full:
            raise RankTooLarge(largest, sites, full)

    def all_ranks(self, full: int) -> tuple[int, ...]:
        """Up to the full rank of what is confined."""
        asked = (rank for rank in self.ranks if rank < full)
        return tuple(sorted({0, *(asked if self.ranks else range(full)), full}))


class _Case(NamedTuple):
    """Some heads confined in one way; several draws of one key are averaged."""

    key: tuple[Component, str, Varied, float]  # component, site, placebo, rank
    intervention: "Intervention"


def ranks_needed(
    means: Mapping[ScoreKey, float], params: SubspaceParams
) -> Mapping[ScoreKey, float]:
    """The smallest rank that does 95 % of what all do; none where rank 0 does as well."""
    curves: dict[tuple[Component, str, Varied], dict[float, float]] = {}
    for key, mean in means.items():
        if key.quantity.metric == "gained":
            what = key.component, key.quantity.site, key.quantity.varied
            curves.setdefault(what, {})[key.x] = mean
    found = {}
    for (component, site, varied), curve in curves.items():
        gain = means.get(ScoreKey(component, Quantity("gain", site)), 0.0)
        reached = [rank for rank, gained in curve.items() if gained >= ENOUGH * gain]
        if gain > 0 and reached:
            key = ScoreKey(component, Quantity("rank_needed", site, varied), x=ENOUGH)
            found[key] = min(reached)
    return found


def warned(means: Mapping[ScoreKey, float], params: SubspaceParams) -> list[str]:
    """Where a rank below full was tried that the data does not have."""
    wanted = {}
    for site in COMBINATIONS["qkv"]:  # the last x of each is its full rank
        tried = sorted({key.x for key in means if key.quantity == Quantity("gained", site)})
        wanted[site] = int(tried[-2]) if len(tried) > 1 else 0
    return subspaces.too_few(means, wanted)


def summarised(key: ScoreKey) -> bool:
    """Whether a summary reads the score."""
    return key.quantity.metric in ("gained", "gain")


def kept(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The share of what all dimensions do that is left at each rank; and of the direct effect."""
    gains = {
        _with_metric(key, "kept"): (
            key,
            ScoreKey(key.component, Quantity("gain", key.quantity.site)),
        )
        for key in keys
        if key.quantity.metric == "gained"
    }
    return {**gains, **direct_kept(keys)}


def _with_metric(key: ScoreKey, metric: str) -> ScoreKey:
    return replace(key, quantity=replace(key.quantity, metric=metric))


def direct_kept(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The share of the heads' direct effect that is left at each rank."""
    whole = {
        key.component: key
        for key in keys
        if (key.quantity.metric, key.quantity.site) == ("direct_effect", "z")
    }
    return {
        ScoreKey(key.component, Quantity("direct_kept", key.quantity.site), x=key.x): (
            key,
            whole[key.component],
        )
        for key in keys
        if key.quantity.metric == "direct_effect" and key.quantity.site != "z"
    }


@analysis(
    "subspace",
    version=2,
    params=SubspaceParams,
    conventions=CONVENTIONS,
    summarise=ranks_needed,
    summarised=summarised,
    warns=warned,
    ratios=kept,
    headline=Quantity("gain"),
    stores=STORES,
    plots={
        "ranks": "analyses.pictures.subspace:logit_diff_by_rank",
        "accuracy": "analyses.pictures.subspace:accuracy_by_rank",
    },
    reference="Lieberum et al. 2023, arXiv 2307.09458: "
    "queries, keys and values of correct-letter heads in few dimensions",
)
def subspace(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: SubspaceParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result],
) -> Measured:
    """What is left when heads read only a few dimensions of queries, keys and values.

    With mean m and leading directions B_r = (b_1 … b_r) learnt on other prompts, a vector x that a
    head reads at the final position is replaced by

        m + B_r B_rᵀ (x − m)

    for r from 0, which is mean ablation, to all dimensions, which changes nothing: one site at a
    time, queries and keys, and all three; one head at a time, and all together. Random subspaces
    and those of other tokens, of the same rank around the same mean, stand beside it.
    """
    from analyses.engine.recording import Keep

    heads = params.chosen(inputs)
    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda together: _measure(lm, together, params, heads, inputs[BASES]),
        keep=Keep.PREFIX,
    )


def _measure(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: SubspaceParams,
    heads: tuple[Component, ...],
    bases: Result,
) -> Measured:
    from analyses.engine.interventions import Path
    from analyses.engine.recording import Keep

    context = effects.patch_context(lm, prompts, None, keep=Keep.PREFIX)
    confinement = Confinement(
        lm.shape, bases.tensors, effects.positions(prompts, params.key_site), params
    )
    cases = [*_cases(confinement, heads, params), *_placebos(confinement, heads, params)]
    after, _ = context.metrics_under(lm, [case.intervention for case in cases])
    scores: dict[ScoreKey, NDArray[np.float32]] = {
        ScoreKey(MODEL, Quantity(metric)): values
        for metric, values in context.base_metrics().items()
    }
    rows: dict[tuple[Component, str, Varied, float], list[int]] = {}
    for row, case in enumerate(cases):
        rows.setdefault(case.key, []).append(row)
    for metric, values in after.items():
        for (component, site, varied, rank), of_key in rows.items():
            key = ScoreKey(component, Quantity(metric, site, varied), x=rank)
            scores[key] = values[of_key].mean(0, dtype=np.float64).astype(np.float32)
    scores |= _gains(scores)
    direct = list(_cases(confinement, heads, params, Path.DIRECT))
    ablated = [confinement.ablated(each) for each in groups(heads).values()]
    along, _ = context.metrics_under(lm, [*(case.intervention for case in direct), *ablated])
    differences = along["logit_diff"]
    without = dict(zip(groups(heads), differences[len(direct) :], strict=True))
    whole = context.base_metrics()["logit_diff"]
    for component, least in without.items():
        scores[ScoreKey(component, Quantity("direct_effect", "z"))] = whole - least
    for case, values in zip(direct, differences, strict=False):
        component, site, _, rank = case.key
        key = ScoreKey(component, Quantity("direct_effect", site), x=rank)
        scores[key] = values - without[component]
    scores[effects.noop_key()] = context.noop_effect(lm)
    scores |= _divergences(lm, context, confinement, heads, params)
    scores |= confinement.data_ranks(heads, len(prompts))
    for head in heads:
        scores[ScoreKey(head, Quantity("in_set"))] = np.ones(len(prompts), dtype=np.float32)
    return Measured(scores=scores)


def _gains(scores: Mapping[ScoreKey, NDArray[np.float32]]) -> dict[ScoreKey, NDArray[np.float32]]:
    """The logit difference at each rank above that at rank 0; and at full rank, as `gain`."""
    curves = {key: values for key, values in scores.items() if key.quantity.metric == "logit_diff"}
    found = {}
    for key, values in curves.items():
        if key.component != MODEL:
            site = key.quantity.site
            nothing = curves[ScoreKey(key.component, Quantity("logit_diff", site))]
            found[_with_metric(key, "gained")] = values - nothing
            whole = curves[ScoreKey(MODEL, Quantity("logit_diff"))]
            found[ScoreKey(key.component, Quantity("gain", site))] = whole - nothing
    return found


def _divergences(
    lm: "LanguageModel",
    context: PatchContext,
    confinement: Confinement,
    heads: tuple[Component, ...],
    params: SubspaceParams,
) -> dict[ScoreKey, NDArray[np.float32]]:
    """How far each head's row of attention is from what it was, with the head confined alone."""
    from analyses.engine.interventions import Intervention
    from analyses.engine.patterns import divergence

    asked = [
        (site, rank)
        for site in OF_A_ROW
        for rank in params.all_ranks(confinement.full_rank(COMBINATIONS[site]))
    ]
    scores = {}
    for head in heads:
        confined = [
            confinement.confined((head,), COMBINATIONS[site], confinement.learnt(rank))
            for site, rank in asked
        ]
        base, *rows = lm.attention_rows(context.base, head.layer, [Intervention(), *confined])
        for (site, rank), row in zip(asked, rows, strict=True):
            far = divergence(base[:, head.index], row[:, head.index])
            key = ScoreKey(head, Quantity("attention_kl", site), x=rank)
            scores[key] = far.cpu().numpy()
    return scores


def _cases(
    confinement: Confinement,
    heads: tuple[Component, ...],
    params: SubspaceParams,
    path: "Path | None" = None,
) -> Iterator[_Case]:
    for component, group in groups(heads).items():
        for site, sites in COMBINATIONS.items():
            for rank in params.all_ranks(confinement.full_rank(sites)):
                basis = confinement.learnt(rank)
                yield _Case(
                    (component, site, NONE, rank), confinement.confined(group, sites, basis, path)
                )


def _placebos(
    confinement: Confinement, heads: tuple[Component, ...], params: SubspaceParams
) -> Iterator[_Case]:
    draws = {
        (head, d): subspaces.random_bases(d, params.placebos, (head.layer, head.index))
        for head in heads
        for d in {confinement.width(site) for site in COMBINATIONS["qkv"]}
    }
    for component, group in groups(heads).items():
        for site, sites in COMBINATIONS.items():
            for rank in params.placebo_ranks:
                if rank >= confinement.full_rank(sites):
                    continue
                other = confinement.confined(group, sites, confinement.of_other_tokens(rank))
                yield _Case((component, site, OTHER, rank), other)
                for draw in range(params.placebos):
                    basis = confinement.drawn(draws, draw, rank)
                    yield _Case(
                        (component, site, RANDOM, rank), confinement.confined(group, sites, basis)
                    )
