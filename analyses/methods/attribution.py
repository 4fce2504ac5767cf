"""Direct logit attribution: what each component itself adds to the label logits."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyses.registry import Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, ScoreKey

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

SHARES = (0.5, 0.8, 0.9)
ROUNDING = 1e-12  # so that ten equal parts hold 80 % with eight

CONVENTIONS = {
    "position": "the last token of the prompt",
    "head": "z W_O of the head; the value bias is inside z, the output bias is attn_bias",
    "final_norm": "frozen at the scale of the full run",
    "post_norm": "frozen at the scale of the sum over heads",
    "soft_cap": "attributed are the logits before a final soft-cap",
    "logit_diff": "correct label minus the mean of the other labels",
    "smallest_set": "heads and MLPs by falling mean attribution, of all that is positive",
}


class AttributionParams(Params):
    """Nothing to choose but the batch size: the method has no knobs."""


def smallest_sets(
    means: Mapping[ScoreKey, float], params: AttributionParams
) -> Mapping[ScoreKey, float]:
    """How many heads and MLPs hold 50, 80 and 90 % of the positive attribution, if there is any."""
    positive = np.array([value for key, value in means.items() if _counts(key) and value > 0])
    if not len(positive):
        return {}
    held = np.cumsum(np.sort(positive)[::-1]) / positive.sum()
    return {
        ScoreKey(component=MODEL, metric="smallest_set", x=share): float(
            1 + np.argmax(held >= share - ROUNDING)
        )
        for share in SHARES
    }


def _counts(key: ScoreKey) -> bool:
    return key.metric == "logit_attribution" and key.component.kind in (Kind.HEAD, Kind.MLP)


@analysis(
    "attribution",
    version=1,
    params=AttributionParams,
    conventions=CONVENTIONS,
    summarise=smallest_sets,
    headline=("logit_attribution", ""),
)
def attribution(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: AttributionParams,
    progress: Callable[[int], None],
) -> Measured:
    """Each component's own share of the label logits (direct logit attribution)."""
    from analyses.engine.decomposition import components

    measured = []
    done = 0
    for together in lm.micro_batches(prompts, params.batch_size):
        measured.append(_measure(lm, together))
        done += len(together)
        progress(done)
    return _put_together(components(lm.anatomy), measured)


class _MeasuredBatch(NamedTuple):
    of_model: dict[str, NDArray[np.float32]]  # metric -> [prompt]
    attributed: NDArray[np.float32]  # [prompt, component, label]
    differences: NDArray[np.float32]  # [prompt, component]


def _measure(lm: "LanguageModel", prompts: "Sequence[Example]") -> _MeasuredBatch:
    from einops import einsum

    from analyses import metrics

    batch = lm.batch(prompts)
    recorded = lm.record(batch)
    shares = lm.decompose(recorded, batch.label_ids).shares
    labels = recorded.logits.gather(1, batch.label_ids)
    logsumexp = recorded.logits.logsumexp(-1)
    correct = batch.correct
    u = metrics.contrast(correct, labels.shape[1])
    differences = einsum(shares, u, "prompt component label, prompt label -> prompt component")
    of_model = metrics.of_logits(labels, correct, logsumexp) | {
        "logit_diff_pre_cap": differences.double().sum(-1).float()
    }
    return _MeasuredBatch(
        {metric: values.cpu().numpy() for metric, values in of_model.items()},
        shares.cpu().numpy(),
        differences.cpu().numpy(),
    )


def _put_together(order: Sequence[Component], batches: Sequence[_MeasuredBatch]) -> Measured:
    scores = {
        ScoreKey(component=MODEL, metric=metric): np.concatenate(
            [batch.of_model[metric] for batch in batches]
        )
        for metric in batches[0].of_model
    }
    differences = np.concatenate([batch.differences for batch in batches])
    for column, component in enumerate(order):
        scores[ScoreKey(component=component, metric="logit_attribution")] = differences[:, column]
    return Measured(
        scores=scores,
        tensors={
            "label_attribution": NamedTensor(
                np.concatenate([batch.attributed for batch in batches]),
                ("prompt", "component", "label"),
                {"component": tuple(component.label for component in order)},
            )
        },
    )
