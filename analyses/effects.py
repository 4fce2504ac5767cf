"""The effects of patches: recorded runs, activations to put into them, and metrics of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyses.prompts.sources import Companion
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, ScoreKey
from analyses.stored import OF_LOGIT_DIFF

if TYPE_CHECKING:
    from torch import Tensor

    from analyses.engine.batches import Batch
    from analyses.engine.interventions import Intervention, Patch, Value
    from analyses.engine.recording import Keep, Recorded
    from analyses.engine.replay import Replayed
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

Metrics = Mapping[str, NDArray[np.float32]]  # metric -> [*intervention, prompt]
Direction = Literal["noise", "denoise"]
At = tuple[tuple[int, ...], ...]  # each prompt's positions


class PatchTarget(NamedTuple):
    """What a patch replaces: the activation of a component at one of its sites."""

    component: Component
    site: str


@dataclass(frozen=True, kw_only=True)
class PatchContext:
    """A recorded run to patch, and the one that activations come from, if there is one.

    Labels and correct answers are the prompts' own, whichever of the two runs they are in.
    """

    batch: "Batch"  # the prompts themselves
    base: "Recorded"
    source: "Recorded | None"
    base_prompts: "Sequence[Example]"
    source_prompts: "Sequence[Example]"  # empty without a source

    def base_metrics(self) -> Metrics:
        return of_recording(self.base, self.batch)

    def source_metrics(self) -> Metrics:
        """Empty where there is no source."""
        return {} if self.source is None else of_recording(self.source, self.batch)

    def metrics_under(
        self, lm: "LanguageModel", interventions: "Sequence[Intervention]"
    ) -> "tuple[Metrics, Replayed]":
        """Every metric under each intervention, [intervention, prompt]."""
        replayed = lm.replay(
            self.base,
            interventions,
            self.batch.label_ids,
            source=self.source,
            whole_vocabulary=True,
            as_changes=True,
        )
        assert replayed.logsumexp is not None
        metrics = of_labels(replayed.labels, self.batch.correct, replayed.logsumexp)
        return metrics, replayed

    def noop_effect(self, lm: "LanguageModel", at: "At | None" = None) -> NDArray[np.float32]:
        """The change of the logit difference in a replay from `at` on that changes nothing."""
        from analyses.engine.interventions import SAME, Intervention, Patch, Site

        unchanged = Patch(site=Site.RESID_PRE, layer=0, value=SAME, at=at)
        replayed = lm.replay(
            self.base, [Intervention((unchanged,))], self.batch.label_ids, whole_vocabulary=True
        )
        assert replayed.logsumexp is not None
        metrics = of_labels(replayed.labels, self.batch.correct, replayed.logsumexp)
        effect: NDArray[np.float32] = metrics["logit_diff"][0] - self.base_metrics()["logit_diff"]
        return effect


def patch_context(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    kind: Companion | None,
    direction: Direction = "noise",
    *,
    keep: "Keep",
) -> PatchContext:
    """The prompts and their companions of a kind, recorded; `denoise` patches the companions."""
    batch = lm.batch(prompts)
    own = lm.record(batch, keep=keep)
    if kind is None:
        return PatchContext(
            batch=batch, base=own, source=None, base_prompts=prompts, source_prompts=()
        )
    companions = [each.companions[kind] for each in prompts]
    other = lm.record(lm.batch(companions), keep=keep)
    (base, base_prompts), (source, source_prompts) = (
        ((own, prompts), (other, companions))
        if direction == "noise"
        else ((other, companions), (own, prompts))
    )
    return PatchContext(
        batch=batch,
        base=base,
        source=source,
        base_prompts=base_prompts,
        source_prompts=source_prompts,
    )


def patch(
    component: Component,
    site: str,
    value: "Value",
    context: PatchContext,
    at: str | None,
    *,
    before_rotary: bool = False,
) -> "Patch":
    """The patch of one site, at the final position or at the positions of a site.

    A value from a source is read at the same site there.
    """
    from analyses.engine.interventions import FromSource, Patch, Site

    here = None if at is None else positions(context.base_prompts, at)
    if at is not None and isinstance(value, FromSource):
        value = FromSource(at=positions(context.source_prompts, at))
    return Patch(
        site=Site(site),
        layer=component.layer,
        head=component.index if component.kind is Kind.HEAD else None,
        value=value,
        at=here,
        before_rotary=before_rotary,
    )


def positions(prompts: "Sequence[Example]", site: str) -> At:
    """The positions of a site, prompt by prompt: one in every option, or of a span."""
    return tuple(prompt.places.at(site) for prompt in prompts)


def noop_key(varied: Varied = OF_LOGIT_DIFF) -> ScoreKey:
    return ScoreKey(MODEL, Quantity("noop_effect", varied=varied))


def of_model(before: Metrics, source_metrics: Metrics) -> dict[ScoreKey, NDArray[np.float32]]:
    """Every metric of the base run, of the source run, and their difference."""
    scores = {}
    for metric, base in before.items():
        scores[ScoreKey(MODEL, Quantity(metric, varied={"of": "base"}))] = base
        if metric in source_metrics:
            source = source_metrics[metric]
            scores[ScoreKey(MODEL, Quantity(metric, varied={"of": "source"}))] = source
            gap = ScoreKey(MODEL, Quantity(metric, varied={"of": "source - base"}))
            scores[gap] = source - base
    return scores


def of_recording(recorded: "Recorded", batch: "Batch") -> Metrics:
    """The metrics of a recorded run, [prompt], for the labels and answers of `batch`."""
    labels = recorded.logits.gather(1, batch.label_ids)
    return of_labels(labels, batch.correct, recorded.logits.logsumexp(-1))


def of_labels(labels: "Tensor", correct: "Tensor", logsumexp: "Tensor") -> Metrics:
    """Every metric, for logits with any axes before [prompt, label]."""
    from analyses import metrics

    flat = metrics.of_logits(
        labels.reshape(-1, labels.shape[-1]),
        correct.expand(labels.shape).reshape(-1, labels.shape[-1]),
        logsumexp.reshape(-1),
    )
    return {name: values.view(labels.shape[:-1]).cpu().numpy() for name, values in flat.items()}
