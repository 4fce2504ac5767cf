"""Categories of important heads, by what they attend to and what they change."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from analyses.categories import OTHERS, Category, Head, Role
from analyses.errors import Refused, shown
from analyses.prompts.prompt import CompletionPrompt, Prompt
from analyses.prompts.sources import usual_source
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Need, Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, Result, ScoreKey
from analyses.stored import OF_LOGIT_DIFF, ScoreDescription

ATTENTION, EFFECTS = "attention", "effects"  # names of the inputs
# Groups of keys: of questions, besides label_i, and of completions.
WEIGHTS = ("correct_label", "labels", "contents", "ends", "last")
OF_COMPLETIONS = ("correct_label", OTHERS)
OUTSIDE = "outside"
MLPS, MINOR = "mlps", "minor"  # components without a category
OF_LETTERS = ("one_label", "uneven", "on_last", "on_contents")  # thresholds of questions only


# Created once: a summary is computed in every resample.
NAMES = tuple(dict.fromkeys(each.value for each in (*Category, *Role)))
CATEGORY = {each: Quantity("category", varied={"of": each}) for each in NAMES}
IMPORTANCE = {
    name: Quantity("importance", varied={"of": name}) for name in (*NAMES, MINOR, MLPS, OUTSIDE)
}
CONVENTIONS = {
    "importance": "the absolute mean total effect on the logit difference, as a share of the sum "
    "over all heads and MLPs",
    "correct_letter": "reads labels, and the correct one several times as much as the others",
    "single_letter": "reads labels, mostly the one at a fixed position, whichever is correct; with "
    "labels in order this is always the same letter",
    "uniform": "reads all labels about equally",
    "amplification": "a late head that reads the tokens after the last option and directly raises "
    "the logit difference: replacing its output lowers it",
    "content_gatherer": "reads options' contents or ends, and acts mostly through other components",
    "mover": "of completions: attends to the correct candidate's span, more than to others', and "
    "writes it up: replacing its output lowers the logit difference along the direct path",
    "suppressor": "of completions: attends to it and writes it down: replacing its output raises "
    "the logit difference along the direct path",
    "gatherer": "of completions: acts mostly through other components",
    "amplifier": "of completions: a late head that attends elsewhere and directly raises the logit "
    "difference. If the text does not have the correct candidate, this is all that a head that "
    "writes it up can be",
    "other": "none of these; a head gets the first category that fits",
    "minor": "heads below the minimum importance, which get no category",
    "outside": "the share of importance outside the named categories: other heads, minor heads and "
    "MLPs",
}


STORES = (
    ScoreDescription(
        metric="category",
        meaning="of questions, 1 for the head's category, 0 for the others; the interval gives its "
        "uncertainty",
        where=((Kind.HEAD, ""),),
        varied=tuple({"of": each.value} for each in Category),
    ),
    ScoreDescription(
        metric="category",
        meaning="the same, of completions",
        where=((Kind.HEAD, ""),),
        varied=tuple({"of": each.value} for each in Role),
        sure=False,
    ),
    ScoreDescription(
        metric="importance",
        meaning="of questions, the share of the total absolute effect of each category, of "
        "components without one, and outside the named ones",
        unit="share",
        varied=tuple({"of": name} for name in (*Category, MINOR, MLPS, OUTSIDE)),
    ),
    ScoreDescription(
        metric="importance",
        meaning="the same, of completions",
        unit="share",
        varied=tuple({"of": name} for name in (*Role, MINOR, MLPS, OUTSIDE)),
        sure=False,
    ),
    ScoreDescription(
        metric="weight",
        meaning="of questions, attention weight from the final position on a group of keys, as "
        "attention stored",
        unit="share",
        where=((Kind.HEAD, ""),),
        varied=tuple({"keys": group} for group in (*WEIGHTS, "label_{i}")),
    ),
    ScoreDescription(
        metric="weight",
        meaning="the same, of completions",
        unit="share",
        where=((Kind.HEAD, ""),),
        varied=tuple({"keys": group} for group in OF_COMPLETIONS),
        sure=False,
    ),
    ScoreDescription(
        metric="total_effect",
        meaning="on the logit difference, as patching stored it",
        unit="logits",
        where=((Kind.HEAD, "z"), (Kind.MLP, "mlp_out")),
        varied=(OF_LOGIT_DIFF,),
    ),
    ScoreDescription(
        metric="direct_effect",
        meaning="on the logit difference, as patching stored it",
        unit="logits",
        where=((Kind.HEAD, "z"),),
        varied=(OF_LOGIT_DIFF,),
    ),
)


class LettersOfQuestionsOnly(Refused):
    def __init__(self, given: Sequence[str], data: str) -> None:
        names = ", ".join(given)
        super().__init__(
            f"{names}: thresholds of letter categories, which heads have on multiple-choice "
            f"questions only, and {shown(data)} has completions. There a head is a mover, "
            f"suppressor, gatherer or amplifier, by on_labels, correct_over_others, late and "
            f"direct. Leave out {names}."
        )


class CategoriseParams(Params):
    """The thresholds of the categories."""

    source: Literal["resample", "permute_options", "randomise_labels", "paired"] = Field(
        "permute_options",
        title="Source",
        description="The source of the patches whose effects measure importance.",
    )
    importance: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Minimum importance",
        description="Share of all effects below which a head gets no category.",
    )
    on_labels: float = Field(
        0.3,
        ge=0,
        le=1,
        title="On labels",
        description="Minimum total weight on all labels; of a mover or suppressor, on the spans of "
        "all candidates.",
    )
    correct_over_others: float = Field(
        2.0,
        ge=1,
        le=100,
        title="Correct over others",
        description="Minimum ratio of the weight on the correct label to that on each other label; "
        "of a mover or suppressor, to that on the other candidates' spans together.",
    )
    one_label: float = Field(
        0.6,
        ge=0,
        le=1,
        title="One label",
        description="Minimum share of the weight on labels that is on a single label; of questions "
        "only.",
    )
    uneven: float = Field(
        0.15,
        ge=0,
        le=1,
        title="Uneven",
        description="How much a label's share may exceed an equal share in a uniform head; of "
        "questions only.",
    )
    late: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Late",
        description="Relative depth from which a head counts as late.",
    )
    on_last: float = Field(
        0.5,
        ge=0,
        le=1,
        title="On the last tokens",
        description="Minimum weight on the tokens after the last option; of questions only.",
    )
    on_contents: float = Field(
        0.3,
        ge=0,
        le=1,
        title="On contents",
        description="Minimum weight on options' contents and ends; of questions only.",
    )
    direct: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Maximum direct share",
        description="Largest direct share of a gatherer's effect.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return usual_source(spec)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `LettersOfQuestionsOnly` if completions are asked for letter categories."""
        usual = type(self).model_fields
        given = [name for name in OF_LETTERS if getattr(self, name) != usual[name].default]
        if given and spec.kind != "questions":
            raise LettersOfQuestionsOnly(given, spec.data)

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The attention and the effects of heads on the same prompts."""
        params = {"batch_size": self.batch_size, "prompts": self.prompts}
        patched = {**params, "source": self.source}
        return (
            Need(name=ATTENTION, analysis="attention", params=params, distribution=spec),
            Need(name=EFFECTS, analysis="patching", params=patched, distribution=spec),
        )


def categories(
    means: Mapping[ScoreKey, float], params: CategoriseParams
) -> Mapping[ScoreKey, float]:
    """1 for each head's category and 0 for the others; the share of importance of each category."""
    totals = {
        key.component: mean for key, mean in means.items() if key.quantity.metric == "total_effect"
    }
    sum_of_sizes = sum(map(abs, totals.values()))
    if not sum_of_sizes:
        return {}
    shares = {component: abs(total) / sum_of_sizes for component, total in totals.items()}
    heads = _heads(means, shares)
    names = _names(heads)
    importance = dict.fromkeys([*names, MINOR, MLPS], 0.0)
    scores: dict[ScoreKey, float] = {}
    for component, head in heads.items():
        if head.importance < params.importance:
            importance[MINOR] += head.importance
            continue
        category = head.category(params)
        importance[category] += head.importance
        for each in names:
            scores[ScoreKey(component, CATEGORY[each])] = float(each is category)
    importance[MLPS] = sum(share for each, share in shares.items() if each.kind is Kind.MLP)
    importance[OUTSIDE] = sum(importance[each] for each in (Category.OTHER, MINOR, MLPS))
    return scores | {ScoreKey(MODEL, IMPORTANCE[name]): share for name, share in importance.items()}


def _heads(
    means: Mapping[ScoreKey, float], shares: Mapping[Component, float]
) -> dict[Component, Head]:
    by_head: dict[Component, dict[tuple[str, str], float]] = {}
    for key, mean in means.items():
        if key.component.kind is Kind.HEAD:
            by_head.setdefault(key.component, {})[_metric_and_group(key)] = mean
    deepest = max((each.layer for each in by_head), default=0) or 1
    return {
        component: Head(
            depth=component.layer / deepest,
            importance=shares[component],
            total=values["total_effect", ""],
            direct=values["direct_effect", ""],
            weights={group: mean for (metric, group), mean in values.items() if metric == "weight"},
        )
        for component, values in by_head.items()
    }


def _names(heads: Mapping[Component, Head]) -> Sequence[Category | Role]:
    """The categories that there may be: of completions, or of questions."""
    of_completions = any(OTHERS in head.weights for head in heads.values())
    return tuple(Role) if of_completions else tuple(Category)


def warned(means: Mapping[ScoreKey, float], params: CategoriseParams) -> list[str]:
    """Warn if no text of the completions has its correct candidate."""
    weights = {
        group: [mean for key, mean in means.items() if _metric_and_group(key) == ("weight", group)]
        for group in OF_COMPLETIONS
    }
    if not weights[OTHERS] or any(weights["correct_label"]):
        return []
    return [
        "No span of these texts is a correct candidate, so no head can be a mover or a suppressor: "
        "a head that writes the answer is an amplifier, or other."
    ]


def _metric_and_group(key: ScoreKey) -> tuple[str, str]:
    """The metric, and for a weight its group of keys."""
    return key.quantity.metric, str(key.quantity.varied.get("keys", ""))


@analysis(
    "categorise",
    version=1,
    params=CategoriseParams,
    conventions=CONVENTIONS,
    summarise=categories,
    warns=warned,
    headline=Quantity("total_effect", varied=OF_LOGIT_DIFF),
    stores=STORES,
    plots={"categories": "analyses.pictures.categories:by_category"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: categories of output nodes; "
    "Wang et al. 2022, arXiv 2211.00593: movers and negative movers",
    needs_model=False,
)
def categorise(
    lm: None,
    prompts: Sequence[Prompt],
    params: CategoriseParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result],
) -> Measured:
    """Categories of important heads: which read letters or contents, move the answer, amplify it.

    Each head above the minimum importance gets the first category whose thresholds are met by its
    mean attention from the final position and its mean effects. Every resample is categorised too,
    so the interval of a category shows its uncertainty. The importance outside the named categories
    is always reported. Letters are of multiple-choice questions; heads on completions are movers,
    suppressors, gatherers or amplifiers.
    """
    numbers = [each.number for each in prompts]
    is_weight = _is_of_candidates if isinstance(prompts[0], CompletionPrompt) else _is_of_letters
    evidence = {
        key: inputs[name]
        for name, is_used in ((ATTENTION, is_weight), (EFFECTS, _is_effect))
        for key in inputs[name].scores
        if is_used(key)
    }
    progress(len(prompts))
    return Measured(
        scores={key: result.scores[key][numbers] for key, result in evidence.items()},
        skipped={key: result.skipped(key)[numbers] for key, result in evidence.items()},
    )


def _is_of_letters(key: ScoreKey) -> bool:
    metric, group = _metric_and_group(key)
    return metric == "weight" and (group in WEIGHTS or group.startswith("label_"))


def _is_of_candidates(key: ScoreKey) -> bool:
    metric, group = _metric_and_group(key)
    return metric == "weight" and group in OF_COMPLETIONS


def _is_effect(key: ScoreKey) -> bool:
    heads = (
        key.quantity.metric in ("total_effect", "direct_effect") and key.component.kind is Kind.HEAD
    )
    mlps = key.quantity.metric == "total_effect" and key.component.kind is Kind.MLP
    return (heads or mlps) and key.quantity.varied == OF_LOGIT_DIFF
