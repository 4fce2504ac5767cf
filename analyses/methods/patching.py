"""Activation patching at the final position: what each component's output changes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses.prompts.sources import SourceKind
from analyses.registry import Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, ScoreKey
from analyses.stored import LABEL_METRICS, Stored, StoredArray, under

if TYPE_CHECKING:
    from torch import Tensor

    from analyses.engine.interventions import Intervention, Value
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

EFFECTS = ("total_effect", "direct_effect", "indirect_effect")
ZERO = "zero"
CONVENTIONS = {
    "position": "the last token of the prompt, which takes the last token of the source",
    "noise": "the run is on the prompt, the patches come from the source prompt",
    "denoise": "the run is on the source prompt, the patches come from the prompt",
    "labels": "of the prompt and its answer, in both directions",
    "total_effect": "metric with the patch minus metric without; everything downstream reacts",
    "direct_effect": "the changed write is added to the final residual; its layer's post-norm and "
    "the final norm are computed anew, nothing else reacts",
    "indirect_effect": "total minus direct",
    "moved": "mean total_effect over the mean of source minus base; under denoise it is the share "
    "that is recovered",
    "head": "z of the head, before its output matrix; the value bias is inside z",
    "condition": "the metric that was changed",
}


PATCHED = ((Kind.HEAD, "z"), (Kind.MLP, "mlp_out"), (Kind.ATTN, "attn_out"))
OF_METRICS = tuple(each.metric for each in LABEL_METRICS)
STORES = (
    Stored(
        metric="total_effect",
        meaning="what the patch changes of the metric named by the condition, in its unit; "
        "everything downstream reacts",
        where=PATCHED,
        conditions=OF_METRICS,
    ),
    Stored(
        metric="direct_effect",
        meaning="the same where nothing reacts but the final norm and the unembedding",
        where=PATCHED,
        conditions=OF_METRICS,
    ),
    Stored(
        metric="indirect_effect",
        meaning="total_effect minus direct_effect",
        where=PATCHED,
        conditions=OF_METRICS,
    ),
    Stored(
        metric="moved",
        meaning="mean total_effect over the mean of source minus base: the share of the way that "
        "the component goes; none where that way may be zero, and none without a source",
        unit="share",
        where=PATCHED,
        conditions=OF_METRICS,
    ),
    *under(LABEL_METRICS, "base", "source", "source - base"),
)
ARRAYS = (
    StoredArray(
        name="patched_logits",
        axes=("prompt", "component", "label"),
        meaning="the logit of every label with the component patched, everything reacting; the "
        "components' names are stored with it",
    ),
)


class PatchingParams(Params):
    """Which outputs are replaced, by what, and in which direction."""

    source: Literal["resample", "permute_options", "randomise_labels", "zero"] = Field(
        "permute_options",
        title="Source",
        description="Where the patched activations come from: another prompt with another correct "
        "label, the same question with its options reordered, the same options under other "
        "letters; or zero, which ablates.",
    )
    direction: Literal["noise", "denoise"] = Field(
        "noise",
        title="Direction",
        description="Noise puts the source's activations into the prompt's run (necessity), "
        "denoise the prompt's into the source's run (sufficiency).",
    )
    attention: bool = Field(
        False,
        title="Attention layers",
        description="Whether each layer's whole attention is patched too, beside heads and MLPs.",
    )

    @property
    def companions(self) -> tuple[SourceKind, ...]:
        return () if self.source == ZERO else (SourceKind(self.source),)


def moved(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The share of the way from base to source that a component goes, as ratios of means."""
    gaps = {key.metric: key for key in keys if key.condition == "source - base"}
    return {
        ScoreKey(component=key.component, metric="moved", site=key.site, condition=key.condition): (
            key,
            gaps[key.condition],
        )
        for key in keys
        if key.metric == "total_effect" and key.condition in gaps
    }


@analysis(
    "patching",
    version=1,
    params=PatchingParams,
    conventions=CONVENTIONS,
    ratios=moved,
    headline=("total_effect", "logit_diff"),
    stores=STORES,
    arrays=ARRAYS,
    plots={"direct_total": "analyses.pictures.patching:direct_total"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: activation patching, total and direct "
    "effects; Vig et al. 2020, arXiv 2004.12265",
)
def patching(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: PatchingParams,
    progress: Callable[[int], None],
) -> Measured:
    """What replacing each head's and MLP's output changes: total, direct and indirect effects.

    One component's output at the final position is replaced by the same component's output in a
    source prompt, for every component by itself, exactly and not by a gradient. With M a metric and
    y the output of the component,

        total  = M(base with y of the source) − M(base)        indirect = total − direct

    where the direct effect adds only the changed write to the final residual of the base run.
    """
    from analyses.engine.recording import Keep

    measured = []
    done = 0
    for together in lm.micro_batches(prompts, params.batch_size, keep=Keep.PREFIX):
        measured.append(_measure(lm, together, params))
        done += len(together)
        progress(done)
    return _put_together(_patched(lm, params), measured)


class _Place(NamedTuple):
    component: Component
    site: str


class _Batch(NamedTuple):
    """Metrics of one batch: [prompt] without a patch, [place, prompt] with one."""

    base: dict[str, NDArray[np.float32]]
    source: dict[str, NDArray[np.float32]]  # empty where there is none
    effects: dict[tuple[str, str], NDArray[np.float32]]  # (effect, metric)
    labels: NDArray[np.float32]  # [prompt, place, label], with the patch


def _patched(lm: "LanguageModel", params: PatchingParams) -> list[_Place]:
    """What is patched, one after the other."""
    places = []
    for layer in range(lm.shape.n_layers):
        places += [
            _Place(Component(kind=Kind.HEAD, layer=layer, index=head), "z")
            for head in range(lm.shape.n_heads)
        ]
        if params.attention:
            places.append(_Place(Component(kind=Kind.ATTN, layer=layer), "attn_out"))
        places.append(_Place(Component(kind=Kind.MLP, layer=layer), "mlp_out"))
    return places


def _measure(lm: "LanguageModel", prompts: "Sequence[Example]", params: PatchingParams) -> _Batch:
    from analyses.engine import interventions
    from analyses.engine.recording import Keep

    asked = lm.batch(prompts)
    own, other, value = lm.record(asked, keep=Keep.PREFIX), None, interventions.ZERO
    if params.companions:
        (kind,) = params.companions
        sources = [each.companions[kind] for each in prompts]
        other = lm.record(lm.batch(sources), keep=Keep.PREFIX)
    base, source = (own, other) if params.direction == "noise" or other is None else (other, own)
    every: list[Intervention] = _interventions(
        _patched(lm, params), interventions.SOURCE if source is not None else value
    )
    found = lm.replay(base, every, asked.label_ids, source=source, whole_vocabulary=True)
    assert found.logsumexp is not None
    before = _metrics(
        base.logits.gather(1, asked.label_ids), asked.correct, base.logits.logsumexp(-1)
    )
    after = _metrics(found.labels, asked.correct, found.logsumexp)
    effects = {}
    for metric, values in after.items():
        total, direct = np.split(values - before[metric], 2)
        for effect, each in zip(EFFECTS, (total, direct, total - direct), strict=True):
            effects[effect, metric] = each
    of_source = {}
    if source is not None:
        labels = source.logits.gather(1, asked.label_ids)
        of_source = _metrics(labels, asked.correct, source.logits.logsumexp(-1))
    total_labels = found.labels[: len(every) // 2].transpose(0, 1).cpu().numpy()
    return _Batch(before, of_source, effects, total_labels)


def _interventions(places: Sequence[_Place], value: "Value") -> "list[Intervention]":
    """Each place alone, by all paths; then each by the direct path."""
    from analyses.engine.interventions import Intervention, Patch, Path, Site

    patches = [
        Patch(
            site=Site(site),
            layer=component.layer,
            head=component.index if component.kind is Kind.HEAD else None,
            value=value,
        )
        for component, site in places
    ]
    return [Intervention((patch,), path) for path in (Path.TOTAL, Path.DIRECT) for patch in patches]


def _metrics(
    labels: "Tensor", correct: "Tensor", logsumexp: "Tensor"
) -> dict[str, NDArray[np.float32]]:
    """Every metric, for logits with any axes before [prompt, label]."""
    from analyses import metrics

    flat = metrics.of_logits(
        labels.reshape(-1, labels.shape[-1]),
        correct.expand(labels.shape[:-1]).reshape(-1),
        logsumexp.reshape(-1),
    )
    return {name: values.view(labels.shape[:-1]).cpu().numpy() for name, values in flat.items()}


def _put_together(places: Sequence[_Place], batches: Sequence[_Batch]) -> Measured:
    scores: dict[ScoreKey, NDArray[np.float32]] = {}
    for metric in batches[0].base:
        base = np.concatenate([batch.base[metric] for batch in batches])
        scores[ScoreKey(component=MODEL, metric=metric, condition="base")] = base
        if batches[0].source:
            source = np.concatenate([batch.source[metric] for batch in batches])
            scores[ScoreKey(component=MODEL, metric=metric, condition="source")] = source
            gap = ScoreKey(component=MODEL, metric=metric, condition="source - base")
            scores[gap] = source - base
    for effect, metric in batches[0].effects:
        whole = np.concatenate([batch.effects[effect, metric] for batch in batches], axis=1)
        for (component, site), values in zip(places, whole, strict=True):
            key = ScoreKey(component=component, metric=effect, site=site, condition=metric)
            scores[key] = values
    names = tuple(component.label for component, _ in places)
    return Measured(
        scores=scores,
        tensors={
            "patched_logits": NamedTensor(
                np.concatenate([batch.labels for batch in batches]),
                ("prompt", "component", "label"),
                {"component": names},
            )
        },
    )
