"""The joint effect of the strongest components: the first, the first two, the first m."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses import effects, streaming
from analyses.effects import PatchTarget
from analyses.heads import NoEffects
from analyses.prompts.sources import Companion, SourceKind, usual_source
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.registry import Need, Params, analysis
from analyses.results import Component, Kind, Measured, Result, ScoreKey
from analyses.stored import (
    LABEL_METRICS,
    NOOP_EFFECT,
    OF_LOGIT_DIFF,
    ScoreDescription,
    differences,
    under,
)

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

EFFECTS = "effects"  # the input that orders the components
SET = Component(kind=Kind.SET)
SHARES = (0.8, 0.9)
GAP = Varied({"of": "source - base"})
READ_BY_SUMMARY = {
    Quantity("total_effect", varied=OF_LOGIT_DIFF),
    Quantity("logit_diff", varied=GAP),
}
CONVENTIONS = {
    "x": "how many components are patched together, the strongest first",
    "order": "by the absolute mean total effect on the logit difference in a patching run: on the "
    "train split if the prompts are the test split, else on the same prompts",
    "components": "z of heads and mlp_out at the final position",
    "moved": "mean total_effect over the mean of source minus base",
    "area": "the mean of moved over m from 0 to the last; logit difference",
    "added": "total_effect of the first m components minus that of the first m - 1, for the m-th",
    "smallest_set": "the smallest number of components at which moved reaches the share, for the "
    "logit difference; missing if it never does",
    "condition": "the metric that was changed",
}


OF_METRICS = tuple({"of": each.metric} for each in LABEL_METRICS)
OF_SET = ((Kind.SET, ""),)
OF_EACH = ((Kind.HEAD, "z"), (Kind.MLP, "mlp_out"))
STORES = (
    ScoreDescription(
        metric="total_effect",
        meaning="the change of the metric named by the condition due to the patches, in its unit",
        where=OF_SET,
        varied=OF_METRICS,
        x="how many components, the strongest first",
    ),
    ScoreDescription(
        metric="moved",
        meaning="mean total_effect over the mean of source minus base",
        unit="share",
        where=OF_SET,
        varied=OF_METRICS,
        x="how many components, the strongest first",
    ),
    ScoreDescription(
        metric="area",
        meaning="the mean of moved over all numbers of components, from 0",
        where=OF_SET,
        varied=(OF_LOGIT_DIFF,),
    ),
    ScoreDescription(
        metric="smallest_set",
        meaning="the smallest number of components that move the share x; missing if none do",
        unit="components",
        where=OF_SET,
        varied=(OF_LOGIT_DIFF,),
        x="the share",
        sure=False,
    ),
    ScoreDescription(
        metric="added",
        meaning="the increase of the total effect when the component joins those before it",
        unit="logits",
        where=OF_EACH,
        varied=(OF_LOGIT_DIFF,),
    ),
    ScoreDescription(
        metric="order",
        meaning="the component's rank, from 1, the strongest first",
        better="low",
        where=OF_EACH,
        no_interval="the order comes from the patching run and is not measured on these prompts",
    ),
    *under(LABEL_METRICS, {"of": "base"}, {"of": "source"}),
    *differences(LABEL_METRICS, GAP),
    NOOP_EFFECT,
)


class CumulativeParams(Params):
    """Which patches, and up to how many components."""

    source: Literal["resample", "permute_options", "randomise_labels", "paired"] = Field(
        "permute_options",
        title="Source",
        description="Where the patched activations come from; of completions usually the prompt's "
        "counterfactual (`paired`).",
    )
    direction: Literal["noise", "denoise"] = Field(
        "denoise",
        title="Direction",
        description="Noise puts the source's activations into the prompt's run, denoise the "
        "prompt's into the source's run: moved is then the recovered share.",
    )
    most: int = Field(
        64,
        ge=1,
        le=4096,
        title="Maximum components",
        description="Where the curve ends; all components if the model has fewer.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return usual_source(spec)

    @property
    def companions(self) -> tuple[Companion, ...]:
        return (SourceKind(self.source),)

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The effects of single components under the same patches."""
        split = "train" if spec.split == "test" else spec.split
        params = self.model_dump(include={"source", "direction", "batch_size", "prompts"})
        of = spec.model_copy(update={"split": split})
        return (Need(name=EFFECTS, analysis="patching", params=params, distribution=of),)


def moved(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The share of the way from base to source, for every number of components."""
    gaps = {key.quantity.metric: key for key in keys if key.quantity.varied == GAP}
    return {
        ScoreKey(SET, Quantity("moved", varied=key.quantity.varied), x=key.x): (
            key,
            gaps[str(key.quantity.varied["of"])],
        )
        for key in keys
        if key.quantity.metric == "total_effect"
    }


def read_by_summary(key: ScoreKey) -> bool:
    """Whether it is an effect on the logit difference, or the gap from base to source."""
    return key.quantity in READ_BY_SUMMARY


def area_and_sets(
    means: Mapping[ScoreKey, float], params: CumulativeParams
) -> Mapping[ScoreKey, float]:
    """The area under the curve, and the smallest sets that move 80 and 90 % of the way."""
    gap = next((mean for key, mean in means.items() if key.quantity.varied == GAP), 0.0)
    curve = {key.x: mean / gap for key, mean in means.items() if key.component == SET and gap}
    if not curve:
        return {}
    scores = {
        ScoreKey(SET, Quantity("area", varied=OF_LOGIT_DIFF)): float(
            np.mean([curve[m] for m in sorted(curve)])
        )
    }
    for share in SHARES:
        reached = [m for m, value in curve.items() if value >= share]
        if reached:
            key = ScoreKey(SET, Quantity("smallest_set", varied=OF_LOGIT_DIFF), x=share)
            scores[key] = min(reached)
    return scores


@analysis(
    "cumulative",
    version=2,
    params=CumulativeParams,
    conventions=CONVENTIONS,
    summarise=area_and_sets,
    summarised=read_by_summary,
    ratios=moved,
    headline=Quantity("added", varied=OF_LOGIT_DIFF),
    stores=STORES,
    plots={"curve": "analyses.pictures.cumulative:moved_by_count"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: "
    "how much of the effect the strongest nodes recover together",
)
def cumulative(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: CumulativeParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result],
) -> Measured:
    """The joint effect of patching the m strongest heads and MLPs, for every m.

    Components are ordered by the absolute size of their total effects; the first m are patched at
    once.
    With M a metric,

        moved(m)  =  (M(base with m patches) − M(base)) / (M(source) − M(base))

    as a ratio of means, and the area is the mean of moved over m.
    """
    from analyses.engine.recording import Keep

    order = strongest(inputs[EFFECTS])[: params.most]
    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda batch: _measure(lm, batch, params, order),
        keep=Keep.PREFIX,
    )


def strongest(effects_of: Result) -> list[PatchTarget]:
    """Heads and MLPs by absolute mean total effect, largest first.

    Raises `NoEffects` if the result has no total effects.
    """
    sizes = {
        PatchTarget(key.component, key.quantity.site): abs(mean)
        for key, mean in effects_of.means.items()
        if key.quantity.at_any_site == Quantity("total_effect", varied=OF_LOGIT_DIFF)
        and key.quantity.site in ("z", "mlp_out")
    }
    if not sizes:
        raise NoEffects
    return sorted(sizes, key=lambda target: (-sizes[target], target.component))


def _measure(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: CumulativeParams,
    order: Sequence[PatchTarget],
) -> Measured:
    from analyses.engine.recording import Keep

    kind = SourceKind(params.source)
    context = effects.patch_context(lm, prompts, kind, params.direction, keep=Keep.PREFIX)
    before, source = context.base_metrics(), context.source_metrics()
    after, _ = context.metrics_under(lm, _sets(order, context))
    scores: dict[ScoreKey, NDArray[np.float32]] = effects.of_model(before, source)
    scores[effects.noop_key()] = context.noop_effect(lm)
    for metric, values in after.items():
        for m, row in enumerate(values - before[metric]):
            key = ScoreKey(SET, Quantity("total_effect", varied={"of": metric}), x=m)
            scores[key] = row
    added = np.diff(after["logit_diff"], axis=0)
    for rank, (component, site) in enumerate(order):
        key = ScoreKey(component, Quantity("order", site))
        scores[key] = np.full(len(prompts), rank + 1, dtype=np.float32)
        key = ScoreKey(component, Quantity("added", site, OF_LOGIT_DIFF))
        scores[key] = added[rank]
    return Measured(scores=scores)


def _sets(order: Sequence[PatchTarget], context: effects.PatchContext) -> "list[Intervention]":
    """Interventions that patch none, the first, the first two … components."""
    from analyses.engine.interventions import SOURCE, Intervention

    patches = [effects.patch(*target, SOURCE, context, None) for target in order]
    return [Intervention(tuple(patches[:m])) for m in range(len(patches) + 1)]
