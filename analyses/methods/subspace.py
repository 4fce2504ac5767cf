"""How many dimensions of queries, keys and values heads need: the rank sweep."""

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
from analyses.stored import LABEL_METRICS, NOOP_EFFECT, ScoreDescription, at, under

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention, Path
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

NONE = Varied()
RANDOM, OTHER = Varied({"placebo": "random"}), Varied({"placebo": "other_tokens"})
ENOUGH = 0.95  # share of the effect at full rank
OF_A_ROW = ("q", "k", "qk")  # sites that change the attention pattern
CONVENTIONS = {
    "x": "the rank",
    "site": "what is confined: q, k, v, q and k, or all three; of one head or of the whole set",
    "position": "the query of the final position, and the keys and values that it reads at every "
    "option's `key_site`; no other position sees the change",
    "rank 0": "the mean of the vectors that the bases were computed from, or with "
    "centring=per_index the mean of each option's keys",
    "full rank": "the vectors themselves: the largest dimension among the confined sites",
    "data_rank": subspaces.RANK_CONVENTION,
    "x beyond data_rank": BEYOND_THE_DATA,
    "key_value_heads": "bases of keys and values are those of a head's group; only this head's "
    "reads change",
    RANDOM.text: "the mean over random subspaces of the same rank, around the same mean",
    OTHER.text: "the leading directions of the same head's vectors at question tokens",
    "direct_effect": "logit_diff along the heads' direct path, minus that with z at its mean; "
    "direct_kept is its share of the value in the unchanged model",
    "attention_kl": "KL divergence of a head's row of attention from its row with only that head "
    "confined; nats, a sink counts as one more key",
    "rank_needed": "the smallest rank whose logit_diff is 95 % of the way from rank 0 to full "
    "rank; missing if that difference may be zero",
}


_CONFINED = tuple((kind, site) for kind in (Kind.HEAD, Kind.SET) for site in COMBINATIONS)
STORES = (
    *under(at(LABEL_METRICS, *_CONFINED, x="the rank"), NONE, RANDOM, OTHER),
    *LABEL_METRICS,
    NOOP_EFFECT,
    ScoreDescription(
        metric="direct_effect",
        meaning="logit_diff along the heads' direct path minus that with z at its mean; at z: in "
        "the unchanged model",
        unit="logits",
        where=(*_CONFINED, (Kind.HEAD, "z"), (Kind.SET, "z")),
        x="the rank",
    ),
    ScoreDescription(
        metric="gained",
        meaning="logit_diff minus that at rank 0",
        unit="logits",
        where=_CONFINED,
        varied=(NONE, RANDOM, OTHER),
        x="the rank",
    ),
    ScoreDescription(
        metric="gain",
        meaning="logit_diff of the unchanged model minus that at rank 0",
        unit="logits",
        where=_CONFINED,
    ),
    ScoreDescription(
        metric="kept",
        meaning="gained over gain: the share of the full effect that remains",
        unit="share",
        where=_CONFINED,
        varied=(NONE, RANDOM, OTHER),
        x="the rank",
    ),
    ScoreDescription(
        metric="direct_kept",
        meaning="the share of the direct effect that remains",
        unit="share",
        where=_CONFINED,
        x="the rank",
    ),
    ScoreDescription(
        metric="attention_kl",
        meaning="KL divergence of the head's row of attention from its row when confined",
        unit="nats",
        where=tuple((Kind.HEAD, site) for site in OF_A_ROW),
        x="the rank",
    ),
    ScoreDescription(
        metric="rank_needed",
        meaning="the smallest rank with 95 % of the gain of all dimensions over none; missing if "
        "no tested rank reaches it, or if there is no gain",
        where=_CONFINED,
        varied=(NONE, RANDOM, OTHER),
        x="the share",
        sure=False,
    ),
    RANK_STORED,
    ScoreDescription(
        metric="in_set",
        meaning="1 for every head of the set",
        where=((Kind.HEAD, ""),),
        no_interval="the set is chosen before the measurement",
    ),
)


class SubspaceParams(ConfinedParams):
    """Which heads, which ranks and which placebos."""

    ranks: tuple[int, ...] = Field(
        (),
        max_length=512,
        title="Ranks",
        description="Empty: all from 0 to the full rank of what is confined. 0 and full rank are "
        "always included.",
    )
    placebos: int = Field(
        20,
        ge=20,
        le=200,
        title="Random subspaces",
        description="How many random subspaces of each rank are compared with the learnt one.",
    )
    placebo_ranks: tuple[int, ...] = Field(
        (1, 2, 3, 4),
        max_length=64,
        title="Placebo ranks",
        description="The ranks at which random and other subspaces are tested.",
    )

    @field_validator("ranks", "placebo_ranks")
    @classmethod
    def _sorted(cls, ranks: tuple[int, ...]) -> tuple[int, ...]:
        if any(rank < 0 for rank in ranks):
            raise ValueError("ranks must not be negative")
        return tuple(sorted(set(ranks)))

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `RankTooLarge`, or another `Refused` if heads or prompts do not fit."""
        super().check(model, spec)
        largest, sites = max(self.ranks, default=0), COMBINATIONS["qkv"]
        full = full_rank(model.layers, sites)
        if largest > full:
            raise RankTooLarge(largest, sites, full)

    def all_ranks(self, full: int) -> tuple[int, ...]:
        """The tested ranks of a site, from 0 to its full rank."""
        chosen = (rank for rank in self.ranks if rank < full)
        return tuple(sorted({0, *(chosen if self.ranks else range(full)), full}))


class _Case(NamedTuple):
    """One intervention that confines heads; cases with the same key are averaged."""

    key: tuple[Component, str, Varied, float]  # component, site, placebo, rank
    intervention: "Intervention"


def ranks_needed(
    means: Mapping[ScoreKey, float], params: SubspaceParams
) -> Mapping[ScoreKey, float]:
    """The smallest rank with 95 % of the gain of all dimensions, if there is a gain."""
    curves: dict[tuple[Component, str, Varied], dict[float, float]] = {}
    for key, mean in means.items():
        if key.quantity.metric == "gained":
            curve_key = key.component, key.quantity.site, key.quantity.varied
            curves.setdefault(curve_key, {})[key.x] = mean
    scores = {}
    for (component, site, varied), curve in curves.items():
        gain = means.get(ScoreKey(component, Quantity("gain", site)), 0.0)
        reached = [rank for rank, gained in curve.items() if gained >= ENOUGH * gain]
        if gain > 0 and reached:
            key = ScoreKey(component, Quantity("rank_needed", site, varied), x=ENOUGH)
            scores[key] = min(reached)
    return scores


def warned(means: Mapping[ScoreKey, float], params: SubspaceParams) -> list[str]:
    """Warn if a rank below full was tested that exceeds the rank of the data."""
    largest = {}
    for site in COMBINATIONS["qkv"]:  # the last x of each site is its full rank
        tried = sorted({key.x for key in means if key.quantity == Quantity("gained", site)})
        largest[site] = int(tried[-2]) if len(tried) > 1 else 0
    return subspaces.too_few(means, largest)


def summarised(key: ScoreKey) -> bool:
    """Whether a summary reads the score."""
    return key.quantity.metric in ("gained", "gain")


def kept(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The shares of the full effect and of the direct effect that remain at each rank."""
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
    """The share of the heads' direct effect that remains at each rank."""
    full = {
        key.component: key
        for key in keys
        if (key.quantity.metric, key.quantity.site) == ("direct_effect", "z")
    }
    return {
        ScoreKey(key.component, Quantity("direct_kept", key.quantity.site), x=key.x): (
            key,
            full[key.component],
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
    """What remains when heads read only a few dimensions of queries, keys and values.

    With mean m and leading directions B_r = (b_1 … b_r) from other prompts, a vector x that a head
    reads at the final position is replaced by

        m + B_r B_rᵀ (x − m)

    for r from 0, which is mean ablation, to all dimensions, which changes nothing: for one site at
    a time, for queries and keys, and for all three; for one head at a time and for all together.
    Placebos are random subspaces and those of other tokens, of the same rank and mean.
    """
    from analyses.engine.recording import Keep

    heads = params.chosen(inputs)
    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda batch: _measure(lm, batch, params, heads, inputs[BASES]),
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
    patched, _ = context.metrics_under(lm, [*(case.intervention for case in direct), *ablated])
    logit_diffs = patched["logit_diff"]
    at_mean = dict(zip(groups(heads), logit_diffs[len(direct) :], strict=True))
    full = context.base_metrics()["logit_diff"]
    for component, values in at_mean.items():
        scores[ScoreKey(component, Quantity("direct_effect", "z"))] = full - values
    for case, values in zip(direct, logit_diffs, strict=False):
        component, site, _, rank = case.key
        key = ScoreKey(component, Quantity("direct_effect", site), x=rank)
        scores[key] = values - at_mean[component]
    scores[effects.noop_key()] = context.noop_effect(lm)
    scores |= _divergences(lm, context, confinement, heads, params)
    scores |= confinement.data_ranks(heads, len(prompts))
    for head in heads:
        scores[ScoreKey(head, Quantity("in_set"))] = np.ones(len(prompts), dtype=np.float32)
    return Measured(scores=scores)


def _gains(scores: Mapping[ScoreKey, NDArray[np.float32]]) -> dict[ScoreKey, NDArray[np.float32]]:
    """The logit difference at each rank minus that at rank 0; of the full model as `gain`."""
    curves = {key: values for key, values in scores.items() if key.quantity.metric == "logit_diff"}
    gains = {}
    for key, values in curves.items():
        if key.component != MODEL:
            site = key.quantity.site
            rank_0 = curves[ScoreKey(key.component, Quantity("logit_diff", site))]
            gains[_with_metric(key, "gained")] = values - rank_0
            full = curves[ScoreKey(MODEL, Quantity("logit_diff"))]
            gains[ScoreKey(key.component, Quantity("gain", site))] = full - rank_0
    return gains


def _divergences(
    lm: "LanguageModel",
    context: PatchContext,
    confinement: Confinement,
    heads: tuple[Component, ...],
    params: SubspaceParams,
) -> dict[ScoreKey, NDArray[np.float32]]:
    """KL divergence of each head's row of attention from its row with only that head confined."""
    from analyses.engine.interventions import Intervention
    from analyses.engine.patterns import divergence

    confinements = [
        (site, rank)
        for site in OF_A_ROW
        for rank in params.all_ranks(confinement.full_rank(COMBINATIONS[site]))
    ]
    scores = {}
    for head in heads:
        confined = [
            confinement.confined((head,), COMBINATIONS[site], confinement.learnt(rank))
            for site, rank in confinements
        ]
        base, *rows = lm.attention_rows(context.base, head.layer, [Intervention(), *confined])
        for (site, rank), row in zip(confinements, rows, strict=True):
            kl = divergence(base[:, head.index], row[:, head.index])
            key = ScoreKey(head, Quantity("attention_kl", site), x=rank)
            scores[key] = kl.cpu().numpy()
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
