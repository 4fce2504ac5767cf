"""Categories of important heads, by what they attend to and what they change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import usual_source
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import Need, Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, Result, ScoreKey
from analyses.stored import OF_LOGIT_DIFF, ScoreDescription

ATTENTION, EFFECTS = "attention", "effects"  # names of the inputs
WEIGHTS = ("correct_label", "labels", "contents", "ends", "last")  # groups of keys, besides label_i
OUTSIDE = "outside"
MLPS, MINOR = "mlps", "minor"  # components without a category


class Category(StrEnum):
    CORRECT_LETTER = "correct_letter"
    SINGLE_LETTER = "single_letter"
    UNIFORM = "uniform"
    AMPLIFICATION = "amplification"
    CONTENT_GATHERER = "content_gatherer"
    OTHER = "other"


# Created once: a summary is computed in every resample.
CATEGORY = {each: Quantity("category", varied={"of": each.value}) for each in Category}
IMPORTANCE = {
    name: Quantity("importance", varied={"of": name})
    for name in (*map(str, Category), MINOR, MLPS, OUTSIDE)
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
    "other": "none of these; a head gets the first category that fits",
    "minor": "heads below the minimum importance, which get no category",
    "outside": "the share of importance outside the named categories: other heads, minor heads and "
    "MLPs",
}


STORES = (
    ScoreDescription(
        metric="category",
        meaning="1 for the head's category, 0 for the others; the interval gives its uncertainty",
        where=((Kind.HEAD, ""),),
        varied=tuple({"of": each.value} for each in Category),
    ),
    ScoreDescription(
        metric="importance",
        meaning="the share of the total absolute effect of each category, of components without "
        "one, and outside the named ones",
        unit="share",
        varied=tuple({"of": name} for name in (*Category, MINOR, MLPS, OUTSIDE)),
    ),
    ScoreDescription(
        metric="weight",
        meaning="attention weight from the final position on a group of keys, as attention stored",
        unit="share",
        where=((Kind.HEAD, ""),),
        varied=tuple({"keys": group} for group in (*WEIGHTS, "label_{i}")),
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
        0.3, ge=0, le=1, title="On labels", description="Minimum total weight on all labels."
    )
    correct_over_others: float = Field(
        2.0,
        ge=1,
        le=100,
        title="Correct over others",
        description="Minimum ratio of the weight on the correct label to that on each other label.",
    )
    one_label: float = Field(
        0.6,
        ge=0,
        le=1,
        title="One label",
        description="Minimum share of the weight on labels that is on a single label.",
    )
    uneven: float = Field(
        0.15,
        ge=0,
        le=1,
        title="Uneven",
        description="How much a label's share may exceed an equal share in a uniform head.",
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
        description="Minimum weight on the tokens after the last option.",
    )
    on_contents: float = Field(
        0.3,
        ge=0,
        le=1,
        title="On contents",
        description="Minimum weight on options' contents and ends.",
    )
    direct: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Maximum direct share",
        description="Largest direct share of a content gatherer's effect.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return usual_source(spec)

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The attention and the effects of heads on the same prompts."""
        params = {"batch_size": self.batch_size, "prompts": self.prompts}
        patched = {**params, "source": self.source}
        return (
            Need(name=ATTENTION, analysis="attention", params=params, distribution=spec),
            Need(name=EFFECTS, analysis="patching", params=patched, distribution=spec),
        )


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The means that decide a head's category."""

    depth: float  # 0 in the first layer, 1 in the last
    importance: float
    total: float
    direct: float
    weights: Mapping[str, float]  # by group of keys
    labels: tuple[float, ...]  # weight on each label, by index of its option

    def category(self, params: CategoriseParams) -> Category:
        """The first category whose conditions are met."""
        on_labels = self.weights["labels"]
        others = (on_labels - self.weights["correct_label"]) / (len(self.labels) - 1)
        largest = max(self.labels) / on_labels if on_labels else 0.0
        reads_labels = on_labels >= params.on_labels
        fits = {
            Category.CORRECT_LETTER: reads_labels
            and self.weights["correct_label"] >= params.correct_over_others * others,
            Category.SINGLE_LETTER: reads_labels and largest >= params.one_label,
            Category.UNIFORM: reads_labels and largest <= 1 / len(self.labels) + params.uneven,
            Category.AMPLIFICATION: self.depth >= params.late
            and self.weights["last"] >= params.on_last
            and self.direct < 0,
            Category.CONTENT_GATHERER: abs(self.direct) <= params.direct * abs(self.total)
            and self.weights["contents"] + self.weights["ends"] >= params.on_contents,
        }
        return next((category for category, met in fits.items() if met), Category.OTHER)


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
    importance = dict.fromkeys([*Category, MINOR, MLPS], 0.0)
    scores: dict[ScoreKey, float] = {}
    for component, head in _heads(means, shares).items():
        if head.importance < params.importance:
            importance[MINOR] += head.importance
            continue
        category = head.category(params)
        importance[category] += head.importance
        for each in Category:
            scores[ScoreKey(component, CATEGORY[each])] = float(each is category)
    importance[MLPS] = sum(share for each, share in shares.items() if each.kind is Kind.MLP)
    importance[OUTSIDE] = sum(importance[each] for each in (Category.OTHER, MINOR, MLPS))
    return scores | {ScoreKey(MODEL, IMPORTANCE[name]): share for name, share in importance.items()}


def _heads(
    means: Mapping[ScoreKey, float], shares: Mapping[Component, float]
) -> dict[Component, _Head]:
    by_head: dict[Component, dict[tuple[str, str], float]] = {}
    for key, mean in means.items():
        if key.component.kind is Kind.HEAD:
            by_head.setdefault(key.component, {})[_metric_and_group(key)] = mean
    deepest = max((each.layer for each in by_head), default=0) or 1
    return {
        component: _Head(
            depth=component.layer / deepest,
            importance=shares[component],
            total=values["total_effect", ""],
            direct=values["direct_effect", ""],
            weights={group: values["weight", group] for group in WEIGHTS},
            labels=tuple(_label_weights(values)),
        )
        for component, values in by_head.items()
    }


def _metric_and_group(key: ScoreKey) -> tuple[str, str]:
    """The metric, and for a weight its group of keys."""
    return key.quantity.metric, str(key.quantity.varied.get("keys", ""))


def _label_weights(values: Mapping[tuple[str, str], float]) -> list[float]:
    weights: list[float] = []
    while (key := ("weight", f"label_{len(weights)}")) in values:
        weights.append(values[key])
    return weights


@analysis(
    "categorise",
    version=1,
    params=CategoriseParams,
    conventions=CONVENTIONS,
    summarise=categories,
    headline=Quantity("total_effect", varied=OF_LOGIT_DIFF),
    stores=STORES,
    plots={"categories": "analyses.pictures.categories:by_category"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: categories of output nodes",
    needs_model=False,
)
def categorise(
    lm: None,
    prompts: Sequence[Prompt],
    params: CategoriseParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result],
) -> Measured:
    """Which heads read the correct label, one label, all labels, contents, or only amplify.

    Each head above the minimum importance gets the first category whose thresholds are met by its
    mean attention from the final position and its mean effects. Every resample is categorised too,
    so the interval of a category shows its uncertainty. The importance outside the named categories
    is always reported.
    """
    numbers = [each.number for each in prompts]
    evidence = {
        key: inputs[name]
        for name, is_used in ((ATTENTION, _is_weight), (EFFECTS, _is_effect))
        for key in inputs[name].scores
        if is_used(key)
    }
    progress(len(prompts))
    return Measured(
        scores={key: result.scores[key][numbers] for key, result in evidence.items()},
        skipped={key: result.skipped(key)[numbers] for key, result in evidence.items()},
    )


def _is_weight(key: ScoreKey) -> bool:
    metric, group = _metric_and_group(key)
    return metric == "weight" and (group in WEIGHTS or group.startswith("label_"))


def _is_effect(key: ScoreKey) -> bool:
    heads = (
        key.quantity.metric in ("total_effect", "direct_effect") and key.component.kind is Kind.HEAD
    )
    mlps = key.quantity.metric == "total_effect" and key.component.kind is Kind.MLP
    return (heads or mlps) and key.quantity.varied == OF_LOGIT_DIFF
