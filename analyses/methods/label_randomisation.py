"""Whether what heads read of labels is more than the n-th item of a list."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

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
from analyses.errors import Refused
from analyses.prompts.mutations import Mutation
from analyses.prompts.sources import Companion, SourceKind
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.registry import ModelFacts, analysis
from analyses.results import MODEL, Component, Kind, Measured, Result, ScoreKey
from analyses.stored import LABEL_METRICS, NOOP_EFFECT, Stored, at, under

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

Scores = dict[ScoreKey, NDArray[np.float32]]
INTERCHANGE = Varied({"of": "interchange"})
OF_MUTATIONS = Varied({"mutation": "{name}"})
EXCHANGED = ("q", "k", "z")
UNCHANGED = "none"  # the prompts as they are
CONVENTIONS = {
    "bases": "learnt on unchanged prompts of the train split, never on a mutation",
    "mutation=none": "the prompts as they are",
    "confined": "the heads read only the leading directions of their own bases, around their mean: "
    "the query of the final position, keys and values at every option's `key_site`",
    "data_rank": subspaces.RANK_CONVENTION,
    "rank beyond data_rank": BEYOND_THE_DATA,
    "drop": "the model as it is minus the confined one, prompt by prompt",
    "interchange": "what a head reads or gives at the final position comes from a prompt whose "
    "right option stands elsewhere, under a label that the prompt has elsewhere again",
    "follows_position": "the answer is the option that stands where the source's right one stands",
    "follows_symbol": "the answer is the option with the label of the source's right one; among "
    "two options that is the prompt's own answer",
    "stays": "the answer is the prompt's own right option; largest labels that tie share it",
    "q": "the query, before rotary embedding unless it is taken after it",
    "k": "each option's key at `key_site` takes that of the source's option at the same place",
    "z": "the control: what the head gives carries the symbol by itself",
}


_SETS = tuple((kind, site) for kind in (Kind.HEAD, Kind.SET) for site in COMBINATIONS)
_ANSWERS = (
    (Kind.MODEL, ""),
    *((kind, site) for kind in (Kind.HEAD, Kind.SET) for site in EXCHANGED),
)
STORES = (
    *under((*LABEL_METRICS, NOOP_EFFECT), OF_MUTATIONS),
    *under(at(LABEL_METRICS, *_SETS), OF_MUTATIONS),
    *(
        Stored(
            metric=f"{each.metric}_drop",
            meaning=f"{each.metric} of the model as it is minus that with the heads confined",
            unit=each.unit,
            where=_SETS,
            varied=(OF_MUTATIONS,),
        )
        for each in LABEL_METRICS
    ),
    *(
        Stored(
            metric=metric,
            meaning=f"how often {CONVENTIONS[metric]}; of the model: without an exchange",
            unit="share of prompts",
            proportion=True,
            where=_ANSWERS,
            varied=(INTERCHANGE,),
        )
        for metric in ("follows_position", "follows_symbol", "stays")
    ),
    RANK_STORED,
)


class UnreadableMutations(Refused):
    def __init__(self, unreadable: Mapping[Mutation, Refused], left: Sequence[Mutation]) -> None:
        said = "\n".join(f"  {each.value}: {error}" for each, error in unreadable.items())
        others = json.dumps([each.value for each in left])
        way_out = (
            f"Leave them out with mutations={others}, or by themselves with unreadable=leave_out"
            if left
            else "Choose other mutations, or another model"
        )
        super().__init__(
            f"{len(unreadable)} of the mutations cannot be asked of this model. {way_out}:\n{said}"
        )


class LabelRandomisationParams(ConfinedParams):
    """Which heads, how few dimensions, which mutations."""

    rank: int = Field(
        3, ge=0, le=1024, title="Rank", description="How many leading directions are read."
    )
    confine: Literal["q", "k", "v", "qk", "qkv"] = Field(
        "qk", title="Confined", description="Queries, keys, values, or several together."
    )
    mutations: tuple[Mutation, ...] = Field(
        tuple(Mutation),
        min_length=1,
        title="Mutations",
        description="How the same questions are told otherwise: random_letters, shuffled (their "
        "own labels in another order), ordered_letters, numbers, symbols, other_separators, "
        "no_prelude.",
    )

    unreadable: Literal["refuse", "leave_out"] = Field(
        "refuse",
        title="Unreadable mutations",
        description="What becomes of mutations whose labels the model's tokenizer does not have, "
        "or that prompts of the recipe cannot have.",
    )

    @property
    def companions(self) -> tuple[Companion, ...]:
        return (*dict.fromkeys(self.mutations), SourceKind.POSITION_SYMBOL)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `RankTooLarge`, and what is wrong with heads or prompts."""
        super().check(model, spec)
        sites = COMBINATIONS[self.confine]
        full = full_rank(model.layers, sites)
        if self.rank > full:
            raise RankTooLarge(self.rank, sites, full)

    def without(self, unreadable: Mapping[Companion, Refused]) -> Self:
        """With the mutations that are left; raises `UnreadableMutations` unless that is asked."""
        mutations = {kind: each for kind, each in unreadable.items() if isinstance(kind, Mutation)}
        if len(mutations) < len(unreadable):
            return super().without(
                {kind: each for kind, each in unreadable.items() if kind not in mutations}
            )
        left = tuple(each for each in self.mutations if each not in mutations)
        if self.unreadable == "refuse" or not left:
            raise UnreadableMutations(mutations, left)
        return self.model_copy(update={"mutations": left})


def warned(means: Mapping[ScoreKey, float], params: LabelRandomisationParams) -> list[str]:
    """Where heads were confined to more directions than were learnt."""
    return subspaces.too_few(means, dict.fromkeys(COMBINATIONS[params.confine], params.rank))


@analysis(
    "label_randomisation",
    version=2,
    params=LabelRandomisationParams,
    conventions=CONVENTIONS,
    warns=warned,
    headline=Quantity("follows_position", varied=INTERCHANGE),
    stores=STORES,
    plots={
        "mutations": "analyses.pictures.label_randomisation:logit_diff_by_mutation",
        "interchange": "analyses.pictures.label_randomisation:interchange",
    },
    reference="Lieberum et al. 2023, arXiv 2307.09458: label randomisation",
)
def label_randomisation(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: LabelRandomisationParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result],
) -> Measured:
    """Bases learnt on one kind of labels, tried on others; and position against symbol.

    If heads find the answer as the n-th item of a list, what they read of labels in one order must
    do for labels in any. So heads are confined to the leading directions that were learnt on
    unchanged prompts, x → m + B_r B_rᵀ (x − m), and the same questions are asked under other
    labels: `drop` is what that costs. Then queries, keys and, as a control, outputs are exchanged
    for those of a prompt whose right option has another place and a label that stands at yet
    another here: the answer follows the place, the symbol, or neither.
    """
    from analyses.engine.recording import Keep

    heads = params.chosen(inputs)
    bases = inputs[BASES]

    def measure(together: "Sequence[Example]") -> Measured:
        scores = _confined(lm, together, UNCHANGED, params, heads, bases)
        for mutation in dict.fromkeys(params.mutations):
            told = [each.companions[mutation] for each in together]
            scores |= _confined(lm, told, mutation.value, params, heads, bases)
        scores |= _confinement(lm, together, params, bases).data_ranks(heads, len(together))
        return Measured(scores=scores | _interchanged(lm, together, params, heads))

    return streaming.streamed(lm, prompts, params, progress, measure, keep=Keep.PREFIX)


def _confined(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    name: str,
    params: LabelRandomisationParams,
    heads: tuple[Component, ...],
    bases: Result,
) -> Scores:
    """The metrics of one mutation: of the model, of it with heads confined, and the drop."""
    from analyses.engine.recording import Keep

    context = effects.patch_context(lm, prompts, None, keep=Keep.PREFIX)
    confinement = _confinement(lm, prompts, params, bases)
    sets = groups(heads)
    sites, basis = COMBINATIONS[params.confine], confinement.learnt(params.rank)
    after, _ = context.metrics_under(
        lm, [confinement.confined(group, sites, basis) for group in sets.values()]
    )
    varied = Varied({"mutation": name})
    scores: Scores = {effects.noop_key(varied): context.noop_effect(lm)}
    for metric, whole in context.base_metrics().items():
        scores[ScoreKey(MODEL, Quantity(metric, varied=varied))] = whole
        for component, values in zip(sets, after[metric], strict=True):
            for name_of, each in ((metric, values), (f"{metric}_drop", whole - values)):
                key = ScoreKey(component, Quantity(name_of, params.confine, varied))
                scores[key] = each
    return scores


def _confinement(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: LabelRandomisationParams,
    bases: Result,
) -> Confinement:
    return Confinement(lm.shape, bases.tensors, effects.positions(prompts, params.key_site), params)


def _interchanged(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: LabelRandomisationParams,
    heads: tuple[Component, ...],
) -> Scores:
    """How often the answer follows the source's position, its symbol, or stays."""
    from analyses.engine.recording import Keep
    from analyses.metrics import answer

    context = effects.patch_context(lm, prompts, SourceKind.POSITION_SYMBOL, keep=Keep.PREFIX)
    sets = groups(heads)
    places = [(component, site) for component in sets for site in EXCHANGED]
    _, found = context.metrics_under(
        lm, [_exchange(sets[component], site, params, context) for component, site in places]
    )
    answers = answer(found.labels).cpu().numpy()  # [place, prompt, option]
    sources = context.source_prompts
    followed = {
        "follows_position": [each.correct for each in sources],
        "follows_symbol": [
            base.labels.index(source.labels[source.correct])
            for base, source in zip(prompts, sources, strict=True)
        ],
        "stays": [each.correct for each in prompts],
    }
    own = answer(context.base.logits.gather(1, context.batch.label_ids)).cpu().numpy()
    rows = np.arange(len(prompts))
    scores: Scores = {}
    for metric, options in followed.items():
        key = ScoreKey(MODEL, Quantity(metric, varied=INTERCHANGE))
        scores[key] = own[rows, options]
        for (component, site), shares in zip(places, answers, strict=True):
            key = ScoreKey(component, Quantity(metric, site, INTERCHANGE))
            scores[key] = shares[rows, options]
    return scores


def _exchange(
    heads: Sequence[Component], site: str, params: LabelRandomisationParams, context: PatchContext
) -> "Intervention":
    from analyses.engine.interventions import SOURCE, Intervention

    at = params.key_site if site == "k" else None
    before = site != "z" and params.rotary == "before"
    return Intervention(
        tuple(
            effects.patch(head, site, SOURCE, context, at, before_rotary=before) for head in heads
        )
    )
