"""What patches change: a recorded run, what stands in the place of parts of it, metrics of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyses.prompts import key_sites
from analyses.prompts.key_sites import KeySite
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


class Place(NamedTuple):
    """Whose activation, and which."""

    component: Component
    site: str


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """The run that is patched, and the run that patches come from where there is one.

    Labels and right answers are the prompts' own, whichever of the two they are.
    """

    asked: "Batch"
    base: "Recorded"
    source: "Recorded | None"
    base_prompts: "Sequence[Example]"
    source_prompts: "Sequence[Example]"  # empty where there is no source

    def of_base(self) -> Metrics:
        return of_recording(self.base, self.asked)

    def of_source(self) -> Metrics:
        """Empty where there is no source."""
        return {} if self.source is None else of_recording(self.source, self.asked)

    def under(
        self, lm: "LanguageModel", interventions: "Sequence[Intervention]"
    ) -> "tuple[Metrics, Replayed]":
        """Every metric under each intervention, [intervention, prompt]."""
        found = lm.replay(
            self.base,
            interventions,
            self.asked.label_ids,
            source=self.source,
            whole_vocabulary=True,
            as_changes=True,
        )
        assert found.logsumexp is not None
        return of_labels(found.labels, self.asked.correct, found.logsumexp), found

    def noop_effect(self, lm: "LanguageModel", at: "At | None" = None) -> NDArray[np.float32]:
        """How far a replay that changes nothing, from positions on, moves the logit difference."""
        from analyses.engine.interventions import SAME, Intervention, Patch, Site

        nothing = Patch(site=Site.RESID_PRE, layer=0, value=SAME, at=at)
        found = lm.replay(
            self.base, [Intervention((nothing,))], self.asked.label_ids, whole_vocabulary=True
        )
        assert found.logsumexp is not None
        (after,) = of_labels(found.labels, self.asked.correct, found.logsumexp)["logit_diff"]
        moved: NDArray[np.float32] = after - self.of_base()["logit_diff"]
        return moved


def grounds(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    kind: Companion | None,
    direction: Direction = "noise",
    *,
    keep: "Keep",
) -> Grounds:
    """Prompts recorded, beside their companions of a kind; `denoise` patches the companions."""
    asked = lm.batch(prompts)
    own = lm.record(asked, keep=keep)
    if kind is None:
        return Grounds(asked=asked, base=own, source=None, base_prompts=prompts, source_prompts=())
    beside = [each.companions[kind] for each in prompts]
    other = lm.record(lm.batch(beside), keep=keep)
    (base, base_prompts), (source, source_prompts) = (
        ((own, prompts), (other, beside))
        if direction == "noise"
        else ((other, beside), (own, prompts))
    )
    return Grounds(
        asked=asked,
        base=base,
        source=source,
        base_prompts=base_prompts,
        source_prompts=source_prompts,
    )


def patch(
    component: Component,
    site: str,
    value: "Value",
    ground: Grounds,
    at: KeySite | None,
    *,
    before_rotary: bool = False,
) -> "Patch":
    """One site replaced: at the final position, or at every option's token of that kind.

    From a source it takes the same option's token there, wherever that stands.
    """
    from analyses.engine.interventions import FromSource, Patch, Site

    here = None if at is None else positions(ground.base_prompts, at)
    if at is not None and isinstance(value, FromSource):
        value = FromSource(at=positions(ground.source_prompts, at))
    return Patch(
        site=Site(site),
        layer=component.layer,
        head=component.index if component.kind is Kind.HEAD else None,
        value=value,
        at=here,
        before_rotary=before_rotary,
    )


def positions(prompts: "Sequence[Example]", site: KeySite) -> At:
    """Where each prompt's options have their token of that kind."""
    return tuple(key_sites.positions(each.places, site) for each in prompts)


def noop_key(varied: Varied = OF_LOGIT_DIFF) -> ScoreKey:
    return ScoreKey(MODEL, Quantity("noop_effect", varied=varied))


def of_model(before: Metrics, of_source: Metrics) -> dict[ScoreKey, NDArray[np.float32]]:
    """Every metric of the base and source runs, and the way between them."""
    scores = {}
    for metric, base in before.items():
        scores[ScoreKey(MODEL, Quantity(metric, varied={"of": "base"}))] = base
        if metric in of_source:
            source = of_source[metric]
            scores[ScoreKey(MODEL, Quantity(metric, varied={"of": "source"}))] = source
            gap = ScoreKey(MODEL, Quantity(metric, varied={"of": "source - base"}))
            scores[gap] = source - base
    return scores


def of_recording(recorded: "Recorded", asked: "Batch") -> Metrics:
    """The metrics of a run as it is, [prompt], by the labels and answers of `asked`."""
    labels = recorded.logits.gather(1, asked.label_ids)
    return of_labels(labels, asked.correct, recorded.logits.logsumexp(-1))


def of_labels(labels: "Tensor", correct: "Tensor", logsumexp: "Tensor") -> Metrics:
    """Every metric, for logits with any axes before [prompt, label]."""
    from analyses import metrics

    flat = metrics.of_logits(
        labels.reshape(-1, labels.shape[-1]),
        correct.expand(labels.shape[:-1]).reshape(-1),
        logsumexp.reshape(-1),
    )
    return {name: values.view(labels.shape[:-1]).cpu().numpy() for name, values in flat.items()}
