"""Whether heads read more of a label than its position in the list of options."""

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
from analyses.errors import Refused, shown
from analyses.prompts.mutations import Mutation
from analyses.prompts.sources import Companion, SourceKind
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.registry import ModelFacts, analysis
from analyses.results import MODEL, Component, Kind, Measured, Result, ScoreKey
from analyses.stored import LABEL_METRICS, NOOP_EFFECT, ScoreDescription, at, under

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

Scores = dict[ScoreKey, NDArray[np.float32]]
INTERCHANGE = Varied({"of": "interchange"})
OF_MUTATIONS = Varied({"mutation": "{name}"})
EXCHANGED = ("q", "k", "z")
UNCHANGED = "none"  # the unchanged prompts
CONVENTIONS = {
    "bases": "computed from unchanged prompts of the train split, never from a mutation",
    "mutation=none": "the unchanged prompts",
    "confined": "the heads read only the leading directions of their own bases, around the mean: "
    "the query of the final position, keys and values at every option's `key_site`",
    "data_rank": subspaces.RANK_CONVENTION,
    "rank beyond data_rank": BEYOND_THE_DATA,
    "drop": "the unchanged model minus the confined one, per prompt",
    "interchange": "what a head reads or writes at the final position comes from a source prompt "
    "whose correct option has another index and a label that the prompt has at a third index",
    "follows_position": "the answer is the option at the index of the source's correct option",
    "follows_symbol": "the answer is the option with the label of the source's correct option; "
    "with two options this is the prompt's own answer",
    "stays": "the answer is the prompt's own correct option; labels that tie share the answer",
    "q": "the query, before the rotary embedding unless rotary=after",
    "k": "each option's key at `key_site` is replaced by that of the source's option at the same "
    "index",
    "z": "the control: the head's output itself carries the symbol",
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
        ScoreDescription(
            metric=f"{each.metric}_drop",
            meaning=f"{each.metric} of the unchanged model minus that with the heads confined",
            unit=each.unit,
            where=_SETS,
            varied=(OF_MUTATIONS,),
        )
        for each in LABEL_METRICS
    ),
    *(
        ScoreDescription(
            metric=metric,
            meaning=f"how often {CONVENTIONS[metric]}; of the model: without an interchange",
            unit="share of prompts",
            proportion=True,
            where=_ANSWERS,
            varied=(INTERCHANGE,),
        )
        for metric in ("follows_position", "follows_symbol", "stays")
    ),
    RANK_STORED,
)


class LabelsOfQuestionsOnly(Refused):
    def __init__(self, data: str) -> None:
        super().__init__(
            f"'label_randomisation' asks the same multiple-choice questions under other labels, "
            f"and {shown(data)} has completions, which have no labels to replace. Use 'subspace' "
            f"(how few dimensions heads read) or 'patching' with another counterfactual, or data "
            f"of questions."
        )


class UnreadableMutations(Refused):
    def __init__(
        self, unreadable: Mapping[Mutation, Refused], readable: Sequence[Mutation]
    ) -> None:
        reasons = "\n".join(
            f"  {name.value}: {error.first_line}" for name, error in unreadable.items()
        )
        others = json.dumps([mutation.value for mutation in readable])
        fix = (
            f"Leave them out with mutations={others}, or automatically with unreadable=leave_out"
            if readable
            else "Choose other mutations, or another model"
        )
        super().__init__(
            f"{len(unreadable)} of the mutations cannot be used with this model. {fix}:\n{reasons}"
        )


class LabelRandomisationParams(ConfinedParams):
    """Which heads, how many directions, which mutations."""

    rank: int = Field(
        3, ge=0, le=1024, title="Rank", description="How many leading directions the heads read."
    )
    confine: Literal["q", "k", "v", "qk", "qkv"] = Field(
        "qk", title="Confined", description="Queries, keys, values, or several together."
    )
    mutations: tuple[Mutation, ...] = Field(
        tuple(Mutation),
        min_length=1,
        title="Mutations",
        description="Changes to the prompts of the same questions: random_letters, shuffled (their "
        "own labels in another order), ordered_letters, numbers, symbols, other_separators, "
        "no_prelude.",
    )

    unreadable: Literal["refuse", "leave_out"] = Field(
        "refuse",
        title="Unreadable mutations",
        description="What to do with mutations whose labels are not in the model's tokenizer, or "
        "that the recipe of the prompts does not allow.",
    )

    @property
    def companions(self) -> tuple[Companion, ...]:
        return (*dict.fromkeys(self.mutations), SourceKind.POSITION_SYMBOL)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `RankTooLarge`, or another `Refused` if heads or prompts do not fit."""
        if spec.kind != "questions":
            raise LabelsOfQuestionsOnly(spec.data)
        super().check(model, spec)
        sites = COMBINATIONS[self.confine]
        full = full_rank(model.layers, sites)
        if self.rank > full:
            raise RankTooLarge(self.rank, sites, full)

    def without(self, unreadable: Mapping[Companion, Refused]) -> Self:
        """The same parameters without unreadable mutations, with `unreadable=leave_out`.

        Raises `UnreadableMutations` otherwise, or if no mutation is left.
        """
        mutations = {kind: each for kind, each in unreadable.items() if isinstance(kind, Mutation)}
        if len(mutations) < len(unreadable):
            return super().without(
                {kind: each for kind, each in unreadable.items() if kind not in mutations}
            )
        readable = tuple(each for each in self.mutations if each not in mutations)
        if self.unreadable == "refuse" or not readable:
            raise UnreadableMutations(mutations, readable)
        return self.model_copy(update={"mutations": readable})


def warned(means: Mapping[ScoreKey, float], params: LabelRandomisationParams) -> list[str]:
    """Warn if heads were confined to more directions than the data has."""
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
    """Bases from one kind of labels tested on others; and position against symbol.

    If heads find the answer as the n-th item of a list, directions found with one set of labels
    must work for any other. So heads are confined to the leading directions from unchanged prompts,
    x → m + B_r B_rᵀ (x − m), and measured on the same questions under other labels: `drop` is the
    loss. Then queries, keys and, as a control, outputs are replaced by those of a source prompt
    whose correct option has another index and a label that the prompt has at a third index: the
    answer follows the position, the symbol, or neither.
    """
    from analyses.engine.recording import Keep

    heads = params.chosen(inputs)
    bases = inputs[BASES]

    def measure(batch: "Sequence[Example]") -> Measured:
        scores = _confined(lm, batch, UNCHANGED, params, heads, bases)
        for mutation in dict.fromkeys(params.mutations):
            mutated = [prompt.companions[mutation] for prompt in batch]
            scores |= _confined(lm, mutated, mutation.value, params, heads, bases)
        scores |= _confinement(lm, batch, params, bases).data_ranks(heads, len(batch))
        return Measured(scores=scores | _interchanged(lm, batch, params, heads))

    return streaming.streamed(lm, prompts, params, progress, measure, keep=Keep.PREFIX)


def _confined(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    name: str,
    params: LabelRandomisationParams,
    heads: tuple[Component, ...],
    bases: Result,
) -> Scores:
    """The metrics under one mutation: of the model, with heads confined, and the drop."""
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
    for metric, full in context.base_metrics().items():
        scores[ScoreKey(MODEL, Quantity(metric, varied=varied))] = full
        for component, values in zip(sets, after[metric], strict=True):
            for score, each in ((metric, values), (f"{metric}_drop", full - values)):
                key = ScoreKey(component, Quantity(score, params.confine, varied))
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
    """How often the answer follows the source's position or symbol, or stays."""
    from analyses.engine.recording import Keep
    from analyses.metrics import answer

    context = effects.patch_context(lm, prompts, SourceKind.POSITION_SYMBOL, keep=Keep.PREFIX)
    sets = groups(heads)
    places = [(component, site) for component in sets for site in EXCHANGED]
    _, patched = context.metrics_under(
        lm, [_exchange(sets[component], site, params, context) for component, site in places]
    )
    answers = answer(patched.labels).cpu().numpy()  # [place, prompt, option]
    sources = context.source_prompts
    followed = {
        "follows_position": [_correct(source) for source in sources],
        "follows_symbol": [
            base.labels.index(source.labels[_correct(source)])
            for base, source in zip(prompts, sources, strict=True)
        ],
        "stays": [_correct(prompt) for prompt in prompts],
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


def _correct(prompt: "Example") -> int:
    """The index of the correct label, the only one of a question."""
    (index,) = prompt.correct
    return index


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
