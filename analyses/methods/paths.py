"""Path effects: which components act through what chosen heads read."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from analyses import effects, heads, streaming
from analyses.effects import Metrics, PatchContext, PatchTarget
from analyses.errors import Refused
from analyses.heads import EFFECTS, HeadName
from analyses.prompts import key_sites
from analyses.prompts.key_sites import KeySite, SiteName
from analyses.prompts.places import FINAL, Places, check_site
from analyses.prompts.sources import Companion, SourceKind, usual_source
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Need, Params, analysis
from analyses.results import Component, Kind, Measured, Result, ScoreKey
from analyses.stored import (
    LABEL_METRICS,
    NOOP_EFFECT,
    ScoreDescription,
    differences,
    under,
)

if TYPE_CHECKING:
    from analyses.engine.path_patches import Patches
    from analyses.engine.recording import Keep
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

ALL = "all"  # stands for all receivers together
Read = Literal["q", "k", "v"]
CONVENTIONS = {
    "path": "from what the sender writes to the one read of the receiver: the residual that enters "
    "the receiver's layer is the recorded one plus the change of this write; every other head and "
    "MLP between keeps what it wrote, and only this read is computed anew",
    "sender": "z of the head, before its output matrix, or mlp_out; its layer's post-norm is "
    "computed anew with the other heads' z as recorded",
    "read": "q at the final position, or at the site `positions`; k and v at the site `key_site`, "
    "as this one head reads them from the final position",
    "position": "a sender is replaced where the receiver's vector is: at the final position, or at "
    "the site, by the same site of the source: of questions a token of each option, of completions "
    "the last token of a span",
    "path_effect": "metric with the new read minus metric with the recorded one; everything above "
    "the read reacts",
    "all": "the reads of all receivers above the sender at once, each as computed for its own path",
    "noise": "the run is on the prompt, what senders write comes from the source prompt",
    "denoise": "the run is on the source prompt, what senders write comes from the prompt",
    "labels": "those of the prompt and its answer, in both directions",
    "receivers": "those named, or the strongest by the absolute mean direct effect on the logit "
    "difference in a patching run: on the train split if the prompts are the test split, else on "
    "the same prompts; heads of layer 0 have no sender below",
    "condition": "the metric that the effect is on, and the receiver with its read",
}
SENDERS = ((Kind.HEAD, "z"), (Kind.MLP, "mlp_out"))
GAP = {"of": "source - base"}
STORES = (
    ScoreDescription(
        metric="path_effect",
        meaning="the change of the metric named by the condition, in its unit, if what the "
        "component writes is replaced on its way into this read of the receiver only, or into "
        "those of all receivers",
        where=SENDERS,
        varied=tuple({"of": each.metric, "to": "{receiver}.{read}"} for each in LABEL_METRICS),
    ),
    *under(LABEL_METRICS, {"of": "base"}, {"of": "source"}),
    *differences(LABEL_METRICS, GAP),
    NOOP_EFFECT,
)


class NothingBelow(Refused):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}, so no head or MLP writes what it reads, and no path leads into it. Name "
            f"receivers of layer 1 or above."
        )


class PathsParams(Params):
    """Which heads receive, by what, and what the senders below are replaced by."""

    source: Literal["resample", "permute_options", "randomise_labels", "paired"] = Field(
        "permute_options",
        title="Source",
        description="Where what senders write comes from: another prompt with another correct "
        "label, the same question with its options reordered, the same options under other "
        "letters, or the prompt's counterfactual.",
    )
    direction: Literal["noise", "denoise"] = Field(
        "noise",
        title="Direction",
        description="Noise puts the source's activations into the prompt's run (necessity), "
        "denoise the prompt's into the source's run (sufficiency).",
    )
    receivers: tuple[HeadName, ...] = Field(
        (),
        max_length=64,
        title="Receivers",
        description="Heads as LAYER.HEAD, counted from 0; none: the strongest by direct effect.",
    )
    strongest: int = Field(
        4,
        ge=1,
        le=64,
        title="Strongest receivers",
        description="How many heads receive where none is named: those whose patched output "
        "changes the logit difference most on the direct path.",
    )
    reads: tuple[Read, ...] = Field(
        ("q",),
        min_length=1,
        max_length=3,
        title="Reads",
        description="What of the receivers the paths lead into: queries, keys, values.",
    )
    positions: SiteName = Field(
        FINAL,
        title="Positions",
        description="Where queries are: at the final position (`final`), at this token of each "
        "option (`label`, `bracket`, `content_end`, `option_end`), or at the last token of this "
        "span of completions.",
    )
    key_site: SiteName = Field(
        KeySite.LABEL.value,
        title="Key site",
        description="Where keys and values are read: at this token of each option (`label`, "
        "`bracket`, `content_end`, `option_end`), or at the last token of this span of "
        "completions.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return {**usual_source(spec), **key_sites.usual(spec)}

    @field_validator("receivers")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return heads.once(names)

    @property
    def companions(self) -> tuple[Companion, ...]:
        return (SourceKind(self.source),)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `NoSuchHead`, `NothingBelow`."""
        heads.check_heads(self.receivers, model)
        for name, head in zip(self.receivers, heads.named(self.receivers), strict=True):
            if head.layer == 0:
                raise NothingBelow(f"Head {name} is in layer 0")
        if len(model.layers) == 1:
            raise NothingBelow("The model has one layer")

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The direct effects that choose receivers."""
        if self.receivers:
            return ()
        split = "train" if spec.split == "test" else spec.split
        params = self.model_dump(include={"source", "direction", "batch_size", "prompts"})
        of = spec.model_copy(update={"split": split})
        return (Need(name=EFFECTS, analysis="patching", params=params, distribution=of),)

    def chosen(self, inputs: Mapping[str, Result]) -> tuple[Component, ...]:
        """The receivers in layer order; raises `NoEffects`."""
        if self.receivers:
            return tuple(sorted(heads.named(self.receivers)))
        ranked = heads.strongest(inputs[EFFECTS], "direct_effect")
        return tuple(sorted([head for head in ranked if head.layer][: self.strongest]))

    def site(self, read: Read) -> str | None:
        """The site where a read is; None for the final position."""
        if read != "q":
            return self.key_site
        return None if self.positions == FINAL else self.positions

    def check_places(self, places: Places) -> None:
        """Raises a `Refused` if the prompt lacks a place that is read."""
        for read in self.reads:
            if (site := self.site(read)) is not None:
                check_site("positions" if read == "q" else "key_site", site, places)


@analysis(
    "paths",
    version=1,
    params=PathsParams,
    conventions=CONVENTIONS,
    headline=Quantity("path_effect", varied={"of": "logit_diff", "to": f"{ALL}.q"}),
    stores=STORES,
    plots={"receivers": "analyses.pictures.paths:by_receiver"},
    reference="Wang et al. 2022, arXiv 2211.00593: path patching; Goldowsky-Dill et al. 2023, "
    "arXiv 2304.05969: one path, with everything else as it was",
)
def paths(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: PathsParams,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result] | None = None,
) -> Measured:
    """The effect of each head and MLP through what chosen heads read: path patching.

    A sender s writes w in the base run and w' under its source's activation. A receiver's query
    (or key, or value) is computed from the residual x that enters its layer, changed by this one
    write,

        q' = q(x + w' − w)        path = M(base with q ← q') − M(base)

    with M a metric. Components between s and the receiver keep what they wrote; everything above
    the receiver's read reacts. Effects are exact, not gradient approximations.
    """
    from analyses.engine.recording import Keep

    receivers = params.chosen(inputs or {})
    sites = {params.site(read) for read in params.reads}
    keep = Keep.PREFIX if sites == {None} else Keep.POSITIONS
    return streaming.streamed(
        lm,
        prompts,
        params,
        progress,
        lambda batch: _measure(lm, batch, params, receivers, keep),
        keep=keep,
    )


def _measure(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: PathsParams,
    receivers: Sequence[Component],
    keep: "Keep",
) -> Measured:
    kind = SourceKind(params.source)
    context = effects.patch_context(lm, prompts, kind, params.direction, keep=keep)
    scores = effects.of_model(context.base_metrics(), context.source_metrics())
    moved = next((at for at in map(params.site, params.reads) if at is not None), None)
    at = None if moved is None else effects.positions(context.base_prompts, moved)
    scores[effects.noop_key()] = context.noop_effect(lm, at)
    for read in dict.fromkeys(params.reads):
        into = _into(lm, context, receivers, read, params.site(read))
        for to, metrics in _effects(lm, context, into).items():
            for metric, rows in metrics.items():
                varied = {"of": metric, "to": f"{to}.{read}"}
                for (component, site), row in zip(_senders(lm), rows, strict=False):
                    scores[ScoreKey(component, Quantity("path_effect", site, varied))] = row
    return Measured(scores=scores)


def _senders(lm: "LanguageModel") -> list[PatchTarget]:
    """Every head and MLP, in layer order: those below a layer come first."""
    return [
        target
        for number, layer in enumerate(lm.shape.layers)
        for target in (
            *(
                PatchTarget(Component(kind=Kind.HEAD, layer=number, index=head), "z")
                for head in range(layer.n_heads)
            ),
            PatchTarget(Component(kind=Kind.MLP, layer=number), "mlp_out"),
        )
    ]


def _into(
    lm: "LanguageModel",
    context: PatchContext,
    receivers: Sequence[Component],
    read: Read,
    at: str | None,
) -> "dict[str, Sequence[Patches]]":
    """By receiver, the patches of its read: as recorded, then under each sender below."""
    from analyses.engine.interventions import SAME, SOURCE, Site

    mlp = Component(kind=Kind.MLP, layer=0)
    unchanged = effects.patch(mlp, "mlp_out", SAME, context, at)
    senders = [effects.patch(*target, SOURCE, context, at) for target in _senders(lm)]
    into: dict[str, Sequence[Patches]] = {}
    for layer, of_layer in groupby(receivers, key=lambda head: head.layer):
        below = [unchanged, *(sender for sender in senders if sender.layer < layer)]
        reads = [(head.index, Site(read)) for head in of_layer]
        found = lm.path_patches(context.base, below, layer, reads, source=context.source)
        into |= {f"{layer}.{head}": patches for (head, _), patches in found.items()}
    return into


def _effects(
    lm: "LanguageModel", context: PatchContext, into: "Mapping[str, Sequence[Patches]]"
) -> dict[str, Metrics]:
    """By receiver, and of all together, the effects of the senders below: [sender, prompt].

    Exactly 0 where the read is exactly the recorded one: a replay rounds its rows differently.
    """
    from analyses.engine.interventions import Intervention
    from analyses.engine.path_patches import unchanged

    every = {**into, ALL: _together(list(into.values()))} if len(into) > 1 else into
    interventions = [Intervention(patches) for of in every.values() for patches in of]
    after, _ = context.metrics_under(lm, interventions)
    by_receiver: dict[str, Metrics] = {}
    recorded = 0
    for to, patches in every.items():
        end = recorded + len(patches)
        same = np.array([unchanged(each, patches[0]).cpu().numpy() for each in patches[1:]])
        by_receiver[to] = {
            metric: np.where(same, 0, values[recorded + 1 : end] - values[recorded])
            for metric, values in after.items()
        }
        recorded = end
    return (
        by_receiver if ALL in by_receiver else {**by_receiver, ALL: by_receiver[next(iter(into))]}
    )


def _together(into: "Sequence[Sequence[Patches]]") -> "list[Patches]":
    """The patches of all receivers at once; those not above a sender read what was recorded."""
    return [
        tuple(patch for of in into for patch in (of[number] if number < len(of) else of[0]))
        for number in range(max(map(len, into)))
    ]
