"""Activation patching: the effect of each component's output, or of what a head reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from analyses import effects, position_maps, streaming
from analyses.effects import At, PatchContext, PatchTarget
from analyses.errors import Refused
from analyses.heads import NothingLearnt
from analyses.patching_scores import ARRAYS, CONVENTIONS, GAP, OF_LAYERS, STORES
from analyses.position_maps import EACH, PositionMap
from analyses.prompts import key_sites
from analyses.prompts.key_sites import KeySite, SiteName
from analyses.prompts.places import FINAL, Places, check_known
from analyses.prompts.sources import Companion, SourceKind, usual_source
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Need, Params, analysis
from analyses.results import Component, Kind, Measured, NamedTensor, Result, ScoreKey
from analyses.stored import OF_LOGIT_DIFF

if TYPE_CHECKING:
    from analyses.checkpoints.shapes import LayerShape
    from analyses.engine.interventions import Intervention, Patch, Value
    from analyses.engine.recording import Keep
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

EFFECTS = ("total_effect", "direct_effect", "indirect_effect")
MEAN, ZERO = "mean", "zero"
MEANS = "means"  # the input with the values of a mean ablation
READ = ("k", "v")
Source = Literal["resample", "permute_options", "randomise_labels", "paired", "mean", "zero"]
Site = Literal["z", "mlp_out", "attn_out", "q", "k", "v", "resid_pre"]


class NoMeanOf(Refused):
    def __init__(self, site: str) -> None:
        super().__init__(
            f"A mean ablation cannot replace {site}: means are only available for outputs at the "
            f"final position. Choose sites from z, mlp_out, attn_out with positions 'final', or "
            f"another source."
        )


class NotOfPositionMaps(Refused):
    def __init__(self, sites: Sequence[str]) -> None:
        super().__init__(
            f"A position map (positions {EACH!r}) is of whole layers and does not take "
            f"{', '.join(sites)}. Choose sites from {', '.join(position_maps.SITES)}, or other "
            f"positions."
        )


class PatchingParams(Params):
    """Which activations are replaced, at which positions, from which source and direction."""

    source: Source = Field(
        "permute_options",
        title="Source",
        description="Where the patched activations come from: another prompt with another correct "
        "label, the same question with its options reordered, the same options under other "
        "letters, the counterfactual of a completion (`paired`, usual for these); or the mean or "
        "zero (ablation).",
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
        max_length=7,
        title="Sites",
        description="What is replaced: z of heads, mlp_out, attn_out of whole layers, q of heads, "
        "k and v of key-value heads, the residual that enters a layer (resid_pre). Of a position "
        "map usually resid_pre, attn_out, mlp_out.",
    )
    positions: SiteName = Field(
        FINAL,
        title="Positions",
        description="Where outputs, queries and residuals are replaced: at the final position "
        "(`final`), at this token of each option (`label`, `bracket`, `content_end`, "
        "`option_end`), at the last token of this span of completions, or at each token in turn "
        "(`each`: a position map). Direct effects exist only at the final position.",
    )
    key_site: SiteName = Field(
        KeySite.LABEL.value,
        title="Key site",
        description="Where k and v are replaced: at this token of each option (`label`, "
        "`bracket`, `content_end`, `option_end`), or at the last token of this span.",
    )

    @model_validator(mode="before")
    @classmethod
    def _sites_of_maps(cls, values: Any) -> Any:
        """The sites of a position map, if none are given."""
        if isinstance(values, Mapping) and values.get("positions") == EACH:
            return {"sites": position_maps.SITES, **values}
        return values

    @model_validator(mode="after")
    def _possible(self) -> "PatchingParams":
        if self.source == MEAN:
            impossible = [site for site in self.sites if site in ("q", *READ, "resid_pre")]
            if impossible or self.positions != FINAL:
                raise NoMeanOf(", ".join(impossible) or f"outputs at {self.positions}")
        unmapped = [site for site in self.sites if site not in position_maps.SITES]
        if self.positions == EACH and unmapped:
            raise NotOfPositionMaps(unmapped)
        return self

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return {**usual_source(spec), **key_sites.usual(spec)}

    @property
    def companions(self) -> tuple[Companion, ...]:
        return () if self.source in (MEAN, ZERO) else (SourceKind(self.source),)

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The means for a mean ablation."""
        if self.source != MEAN:
            return ()
        of = spec.model_copy(update={"split": "train" if spec.split == "test" else spec.split})
        # Only means of outputs are read, which these provide for every model and prompt.
        params = {"batch_size": self.batch_size, "prompts": self.prompts, "rotary": "after"}
        if spec.kind == "completions":
            params["key_site"] = FINAL
        return (Need(name=MEANS, analysis="bases", params=params, distribution=of),)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `UnknownSite` if no question has these positions."""
        if spec.kind == "questions":
            check_known("positions", self.positions, (FINAL, EACH, *KeySite))
            check_known("key_site", self.key_site, tuple(KeySite))

    def check_places(self, places: Places) -> None:
        """Raises `UnknownSite`, or `NoKeySite` if an option lacks a token that is patched."""
        if self.positions not in (FINAL, EACH):
            check_known("positions", self.positions, (FINAL, EACH, *places.sites))
            places.at(self.positions)
        if set(READ) & set(self.sites):
            check_known("key_site", self.key_site, places.sites)
            places.at(self.key_site)

    def check_prompts(self, model: ModelFacts, prompts: Sequence[Places]) -> None:
        """Raises a `Refused` if a prompt lacks a position, or a position map is too large."""
        super().check_prompts(model, prompts)
        if self.positions == EACH:
            position_maps.check(prompts, layers=len(model.layers), sites=len(self.sites))

    @property
    def at(self) -> str | None:
        """The site of the positions; None for the final position."""
        return None if self.positions == FINAL else self.positions


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
        "positions": "analyses.pictures.position_maps:position_maps",
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
    At `each` position there are only total effects, a map of layer × position.
    """
    from analyses.engine.recording import Keep

    if params.positions == EACH:
        return _position_map(lm, params).measure(lm, prompts, params, progress)
    keep = Keep.PREFIX if params.at is None else Keep.POSITIONS
    means = (inputs or {}).get(MEANS)
    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda batch: _measure(lm, batch, params, means, keep),
        keep=keep,
    )


def _position_map(lm: "LanguageModel", params: PatchingParams) -> PositionMap:
    from analyses.engine import interventions

    return PositionMap(
        targets=_targets(lm, params.sites),
        value=interventions.ZERO if params.source == ZERO else interventions.SOURCE,
        source=next(iter(params.companions), None),
        direction=params.direction,
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
    if site in OF_LAYERS:
        return 1
    return layer.n_kv_heads if site in READ else layer.n_heads


def _component(site: str, layer: int, index: int) -> Component:
    if site in OF_LAYERS:
        return Component(kind=OF_LAYERS[site], layer=layer)
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
    called = tuple(f"{component.label} {site}" for component, site in targets)
    tensor = NamedTensor(labels, ("prompt", "component", "label"), {"component": called})
    return Measured(scores=scores, tensors={"patched_logits": tensor})


def _changed(params: PatchingParams, context: PatchContext) -> At | None:
    """The patched positions; None for the final position."""
    return None if params.at is None else effects.positions(context.base_prompts, params.at)


def _interventions(
    lm: "LanguageModel",
    targets: Sequence[PatchTarget],
    params: PatchingParams,
    context: PatchContext,
    means: Result | None,
) -> "list[Intervention]":
    """One total patch per target; then, at the final position, one direct patch per target."""
    from analyses.engine.interventions import Intervention, Path

    paths = (Path.TOTAL, Path.DIRECT) if params.at is None else (Path.TOTAL,)
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
    value = _value(target, params, means)
    if site not in READ:
        return (effects.patch(component, site, value, context, params.at),)
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
