"""What a language model answers: metrics of a distribution, overall and by the correct option."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analyses import effects, streaming
from analyses.knowledge import content_accuracy
from analyses.quantities import NOTHING, Quantity, Varied
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, NamedTensor, ScoreKey
from analyses.stored import LABEL_METRICS, ScoreDescription, TensorDescription, under

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

CONVENTIONS = {
    "position": "the last token of the prompt",
    "logits": "of the final residual; the final norm and the unembedding are computed in fp32",
    "logit_diff": "correct label minus the mean of the other labels",
    "label_loss": "-log softmax over the labels only; nats",
    "loss": "-log softmax over the whole vocabulary; nats",
    "label_mass": "total probability of all labels, over the whole vocabulary",
    "content_accuracy": "the correct option's text has the highest mean log-probability per token "
    "after `question ⏎ Answer:`; of questions only",
    "condition": "position=i: the correct option is the i-th, from 0; label=L: its label is L; of "
    "completions GROUP=VALUE: the prompts of that group, such as template=T",
}


OF_QUESTIONS = (NOTHING, {"position": "{i}"}, {"label": "{label}"})
STORES = (
    *(replace(each, grouped=True) for each in under(LABEL_METRICS, *OF_QUESTIONS)),
    ScoreDescription(
        metric="content_accuracy",
        meaning="whether the correct option's text is the likeliest of the options' texts after "
        "the question alone: whether the model knows the answer; ties are shared; of questions "
        "only",
        unit="share of prompts",
        better="high",
        varied=OF_QUESTIONS,
        proportion=True,
    ),
)
ARRAYS = (
    TensorDescription(
        name="label_logits",
        axes=("prompt", "label"),
        meaning="the logit of every label, in the order of the options or candidates",
    ),
)


class BehaviourParams(Params):
    """The method has no parameters of its own."""


@analysis(
    "behaviour",
    version=1,
    params=BehaviourParams,
    conventions=CONVENTIONS,
    stores=STORES,
    arrays=ARRAYS,
    plots={"answers": "analyses.pictures.behaviour:answers"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: what the models answer",
)
def behaviour(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: BehaviourParams,
    progress: Callable[[int], None],
) -> Measured:
    """What the model answers and knows, overall and by group, such as by position or template.

    All but one metric are of the label logits x_1 … x_K at the final position. The other one,
    `content_accuracy`, compares the likelihoods of the options' texts after the question alone,
    which separates knowing the answer from finding its label; completions have no such texts.
    """
    measured = streaming.streamed(lm, prompts, params, progress, lambda batch: _measure(lm, batch))
    vectors = dict(measured.scores)
    if all(prompt.content for prompt in prompts):
        knows = content_accuracy(lm, prompts, batch_size=params.batch_size)
        vectors[ScoreKey(MODEL, Quantity("content_accuracy"))] = knows
    counted = {
        replace(key, quantity=replace(key.quantity, varied=varied)): (vector, chosen)
        for varied, chosen in _subsets(prompts).items()
        for key, vector in vectors.items()
    }
    return Measured(
        scores={
            key: np.where(chosen, vector, np.float32(np.nan))
            for key, (vector, chosen) in counted.items()
        },
        tensors=measured.tensors,
        skipped={key: ~chosen for key, (_, chosen) in counted.items()},
    )


def _measure(lm: "LanguageModel", prompts: "Sequence[Example]") -> Measured:
    """The label logits and their metrics."""
    batch = lm.batch(prompts)
    recorded = lm.record(batch)
    labels = recorded.logits.gather(1, batch.label_ids).cpu().numpy()
    metrics = effects.of_recording(recorded, batch)
    return Measured(
        scores={ScoreKey(MODEL, Quantity(name)): each for name, each in metrics.items()},
        tensors={"label_logits": NamedTensor(labels, ("prompt", "label"))},
    )


def _subsets(prompts: "Sequence[Example]") -> dict[Varied, NDArray[np.bool_]]:
    """Which prompts count, [prompt] each: all, then those of each group."""
    subsets = {Varied(): np.ones(len(prompts), dtype=bool)}
    for name in dict.fromkeys(name for each in prompts for name in each.groups):
        values = [each.groups.get(name) for each in prompts]
        for value in sorted({value for value in values if value is not None}):
            subsets[Varied({name: value})] = np.array([each == value for each in values])
    return subsets
