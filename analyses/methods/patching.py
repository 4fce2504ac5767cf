"""Activation patching: the effect of each component's output, or of what a head reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from analyses import effects, streaming
from analyses.effects import At, PatchContext, PatchTarget
from analyses.errors import Refused
from analyses.heads import NothingLearnt
from analyses.prompts.key_sites import KeySite
from analyses.prompts.places import Places
from analyses.prompts.sources import Companion, SourceKind
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity, Varied
from analyses.registry import Need, Params, analysis
from analyses.results import Component, Kind, Measured, NamedTensor, Result, ScoreKey
from analyses.stored import (
    LABEL_METRICS,
    NOOP_EFFECT,
    OF_LOGIT_DIFF,
    ScoreDescription,
    TensorDescription,
    differences,
    under,
)

if TYPE_CHECKING:
    from analyses.checkpoints.shapes import LayerShape
    from analyses.engine.interventions import Intervention, Patch, Value
    from analyses.engine.recording import Keep
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

EFFECTS = ("total_effect", "direct_effect", "indirect_effect")
GAP = Varied({"of": "source - base"})
MEAN, ZERO = "mean", "zero"
MEANS = "means"  # the input with the values of a mean ablation
READ = ("k", "v")
Site = Literal["z", "mlp_out", "attn_out", "q", "k", "v"]
CONVENTIONS = {
    "position": "the last token of the prompt, patched from the last token of the source; or each "
    "option's token at `positions`, patched from the same option's token of the source",
    "noise": "the run is on the prompt, the patches come from the source prompt",
    "denoise": "the run is on the source prompt, the patches come from the prompt",
    "labels": "those of the prompt and its answer, in both directions",
    "total_effect": "metric with the patch minus metric without; everything downstream reacts",
    "direct_effect": "the change of the output is added to the final residual; the layer's "
    "post-norm and the final norm are recomputed, nothing else reacts",
    "indirect_effect": "total minus direct",
    "base": "the recorded run; effects are measured against a replay without patches, so they do "
    "not include the rounding of replays",
    "moved": "mean total_effect over the mean of source minus base; with denoise it is the "
    "recovered share",
    "head": "z of the head, before its output matrix; it includes the value bias",
    "kv_head": "keys or values at every option's `key_site`, as all heads of the group read them "
    "from the final position; no other position sees the change",
    "queries_and_keys": "as used by attention, after the rotary embedding",
    "mean": "over prompts of the train split if the prompts are the test split, else over the same "
    "prompts",
    "condition": "the metric that the effect is on",
}


PATCHED = (
    (Kind.HEAD, "z"),
    (Kind.MLP, "mlp_out"),
    (Kind.ATTN, "attn_out"),
    (Kind.HEAD, "q"),
    (Kind.KV_HEAD, "k"),
    (Kind.KV_HEAD, "v"),
)
OF_METRICS = tuple({"of": each.metric} for each in LABEL_METRICS)
STORES = (
    ScoreDescription(
        metric="total_effect",
        meaning="the change of the metric named by the condition due to the patch, in its unit; "
        "everything downstream reacts",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="direct_effect",
        meaning="the same if only the final norm and the unembedding react",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="indirect_effect",
        meaning="total_effect minus direct_effect",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="moved",
        meaning="mean total_effect over the mean of source minus base: the share of the gap that "
        "the component closes; missing if the gap may be zero, or without a source",
        unit="share",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    *under(LABEL_METRICS, {"of": "base"}, {"of": "source"}),
    *differences(LABEL_METRICS, GAP),
    NOOP_EFFECT,
)
ARRAYS = (
    TensorDescription(
        name="patched_logits",
        axes=("prompt", "component", "label"),
        meaning="the logit of every label with the component patched (total effect); stored with "
        "the components' names",
    ),
)


class NoMeanOf(Refused):
    def __init__(self, site: str) -> None:
        super().__init__(
            f"A mean ablation cannot replace {site}: means are only available for outputs at the "
            f"final position. Choose sites from z, mlp_out, attn_out with positions 'final', or "
            f"another source."
        )


class PatchingParams(Params):
    """Which activations are replaced, at which positions, from which source and direction."""

    source: Literal["resample", "permute_options", "randomise_labels", "mean", "zero"] = Field(
        "permute_options",
        title="Source",
        description="Where the patched activations come from: another prompt with another correct "
        "label, the same question with its options reordered, the same options under other "
        "letters; or the mean or zero (ablation).",
    )
    direction: Literal["noise", "denoise"] = Field(
        "noise",
        title="Direction",
        description="Noise puts the source's activations into the prompt's run (necessity), "
        "denoise the prompt's into the source's run (sufficiency).",
    )
    sites: tuple[Site, ...] = Field(
        ("z", "mlp_out"),
        min_length=1,
        max_length=6,
        title="Sites",
        description="What is replaced: z of heads, mlp_out, attn_out of whole layers, q of heads, "
        "k and v of key-value heads.",
    )
    positions: Literal["final", "label", "bracket", "content_end", "option_end"] = Field(
        "final",
        title="Positions",
        description="Where outputs and queries are replaced: at the final position, or at this "
        "token of each option. Direct effects exist only at the final position.",
    )
    key_site: KeySite = Field(
        KeySite.LABEL,
        title="Key site",
        description="The token of each option at which k and v are replaced.",
    )

    @model_validator(mode="after")
    def _possible(self) -> "PatchingParams":
        if self.source == MEAN:
            impossible = [site for site in self.sites if site in ("q", *READ)]
            if impossible or self.positions != "final":
                raise NoMeanOf(", ".join(impossible) or f"outputs at {self.positions}")
        return self

    @property
    def companions(self) -> tuple[Companion, ...]:
        return () if self.source in (MEAN, ZERO) else (SourceKind(self.source),)

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The means for a mean ablation."""
        if self.source != MEAN:
            return ()
        of = spec.model_copy(update={"split": "train" if spec.split == "test" else spec.split})
        # Only means of outputs are read, which rotary=after provides for every model.
        params = {"batch_size": self.batch_size, "prompts": self.prompts, "rotary": "after"}
        return (Need(name=MEANS, analysis="bases", params=params, distribution=of),)

    def check_places(self, places: Places) -> None:
        """Raises `NoKeySite` if an option of the prompt lacks a token that is patched."""
        for site in self._key_sites:
            places.at(site)

    @property
    def _key_sites(self) -> tuple[KeySite, ...]:
        patched = [KeySite(self.positions)] if self.positions != "final" else []
        return (*patched, self.key_site) if set(READ) & set(self.sites) else tuple(patched)


def moved(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The share of the gap from base to source that a component closes, as ratios of means."""
    gaps = {key.quantity.metric: key for key in keys if key.quantity.varied == GAP}
    return {
        ScoreKey(key.component, Quantity("moved", key.quantity.site, key.quantity.varied)): (
            key,
            gaps[str(key.quantity.varied["of"])],
        )
        for key in keys
        if key.quantity.metric == "total_effect" and key.quantity.varied["of"] in gaps
    }


@analysis(
    "patching",
    version=1,
    params=PatchingParams,
    conventions=CONVENTIONS,
    ratios=moved,
    headline=Quantity("total_effect", varied=OF_LOGIT_DIFF),
    stores=STORES,
    arrays=ARRAYS,
    plots={
        "direct_total": "analyses.pictures.patching:direct_total",
        "reads": "analyses.pictures.patching:reads",
    },
    reference="Lieberum et al. 2023, arXiv 2307.09458: activation patching, total and direct "
    "effects; Vig et al. 2020, arXiv 2004.12265",
)
def patching(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: PatchingParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result] | None = None,
) -> Measured:
    """The effect of replacing each head's and MLP's output: total, direct and indirect.

    The output y of one component at a time is replaced by its output in a source prompt (or by its
    mean, or by zero). Effects are exact, not gradient approximations. With M a metric,

        total  = M(base with y of the source) − M(base)        indirect = total − direct

    where the direct effect only adds the change of the output to the base run's final residual.
    """
    from analyses.engine.recording import Keep

    keep = Keep.PREFIX if params.positions == "final" else Keep.POSITIONS
    means = (inputs or {}).get(MEANS)
    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda batch: _measure(lm, batch, params, means, keep),
        keep=keep,
    )


def _targets(lm: "LanguageModel", sites: Sequence[str]) -> list[PatchTarget]:
    """Every component to patch, at each of its sites, in layer order."""
    return [
        PatchTarget(_component(site, number, index), site)
        for number, layer in enumerate(lm.shape.layers)
        for site in sites
        for index in range(_count(site, layer))
    ]


def _count(site: str, layer: "LayerShape") -> int:
    if site in ("mlp_out", "attn_out"):
        return 1
    return layer.n_kv_heads if site in READ else layer.n_heads


def _component(site: str, layer: int, index: int) -> Component:
    kinds = {"mlp_out": Kind.MLP, "attn_out": Kind.ATTN}
    if site in kinds:
        return Component(kind=kinds[site], layer=layer)
    return Component(kind=Kind.KV_HEAD if site in READ else Kind.HEAD, layer=layer, index=index)


def _measure(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: PatchingParams,
    means: Result | None,
    keep: "Keep",
) -> Measured:
    kind = params.companions[0] if params.companions else None
    context = effects.patch_context(lm, prompts, kind, params.direction, keep=keep)
    targets = _targets(lm, params.sites)
    interventions = _interventions(lm, targets, params, context, means)
    before = context.base_metrics()
    after, patched = context.metrics_under(lm, interventions)
    scores = effects.of_model(before, context.source_metrics())
    scores[effects.noop_key()] = context.noop_effect(lm, _changed(params, context))
    for metric, values in after.items():
        total, *direct = np.split(values - before[metric], len(interventions) // len(targets))
        each = (total, direct[0], total - direct[0]) if direct else (total,)
        for effect, rows in zip(EFFECTS, each, strict=False):
            for (component, site), row in zip(targets, rows, strict=True):
                key = ScoreKey(component, Quantity(effect, site, {"of": metric}))
                scores[key] = row
    labels = patched.labels[: len(targets)].transpose(0, 1).cpu().numpy()
    names = tuple(f"{component.label} {site}" for component, site in targets)
    tensor = NamedTensor(labels, ("prompt", "component", "label"), {"component": names})
    return Measured(scores=scores, tensors={"patched_logits": tensor})


def _changed(params: PatchingParams, context: PatchContext) -> At | None:
    """The patched positions; None for the final position."""
    if params.positions == "final":
        return None
    return effects.positions(context.base_prompts, KeySite(params.positions))


def _interventions(
    lm: "LanguageModel",
    targets: Sequence[PatchTarget],
    params: PatchingParams,
    context: PatchContext,
    means: Result | None,
) -> "list[Intervention]":
    """One total patch per target; then, at the final position, one direct patch per target."""
    from analyses.engine.interventions import Intervention, Path

    paths = (Path.TOTAL, Path.DIRECT) if params.positions == "final" else (Path.TOTAL,)
    patches = [_patches(lm, target, params, context, means) for target in targets]
    return [Intervention(each, path) for path in paths for each in patches]


def _patches(
    lm: "LanguageModel",
    target: PatchTarget,
    params: PatchingParams,
    context: PatchContext,
    means: Result | None,
) -> "tuple[Patch, ...]":
    """The patches of a target; keys and values are patched for every head of the group."""
    component, site = target
    at = None if params.positions == "final" else KeySite(params.positions)
    value = _value(target, params, means)
    if site not in READ:
        return (effects.patch(component, site, value, context, at),)
    heads = lm.shape.layers[component.layer].readers(component.index)
    return tuple(
        effects.patch(
            Component(kind=Kind.HEAD, layer=component.layer, index=head),
            site,
            value,
            context,
            params.key_site,
        )
        for head in heads
    )


def _value(target: PatchTarget, params: PatchingParams, means: Result | None) -> "Value":
    from analyses.engine import interventions

    if params.source == ZERO:
        return interventions.ZERO
    if means is None:
        return interventions.SOURCE
    component, site = target
    if not means.tensors:
        raise NothingLearnt(MEANS)
    mean = means.tensors[f"{site}_mean"].values[component.layer]
    return interventions.constant(mean[component.index] if component.kind is Kind.HEAD else mean)
