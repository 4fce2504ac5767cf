"""Which answers a language model knows, apart from finding their labels, and analyses of those."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analyses.registry import Measure, Params
from analyses.results import MODEL, Measured, NamedTensor, Result, ScoreKey

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

KNOWN = ScoreKey(component=MODEL, metric="known")  # 1 where the answer is known, else 0


def content_accuracy(
    lm: "LanguageModel", examples: "Sequence[Example]", *, batch_size: int
) -> NDArray[np.float32]:
    """1 where the correct option's text is the likeliest after the question alone, else 0.

    A text's likelihood is its mean log-probability per token (METHODS.md section 2).
    """
    found = []
    for together in lm.micro_batches(examples, batch_size):
        pairs = [
            (each.content.context, option) for each in together for option in each.content.options
        ]
        values = lm.mean_log_probs(pairs).view(len(together), -1)
        found += [
            float(row.argmax() == each.correct) for each, row in zip(together, values, strict=True)
        ]
    return np.array(found, dtype=np.float32)


def measured(
    measure: Measure,
    lm: "LanguageModel",
    examples: "Sequence[Example]",
    params: Params,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result] | None = None,
) -> Measured:
    """What the analysis measures on the prompts asked for; NaN on the others.

    How many were known is a score of its own, `known`. `inputs` are the results of the runs that
    the analysis needs, whole, where it needs some.
    """
    given = {"inputs": inputs} if inputs else {}
    if params.prompts == "all":
        return measure(lm, examples, params, progress, **given)
    accuracy = content_accuracy(lm, examples, batch_size=params.batch_size)
    known = accuracy == 1
    found = Measured(scores={})
    if known.any():
        chosen = [each for each, is_known in zip(examples, known, strict=True) if is_known]
        found = _spread(measure(lm, chosen, params, progress, **given), known)
    return Measured(scores={**found.scores, KNOWN: accuracy}, tensors=found.tensors)


def _spread(of_known: Measured, known: NDArray[np.bool_]) -> Measured:
    def spread(values: NDArray[np.generic]) -> NDArray[np.generic]:
        nothing = np.nan if np.issubdtype(values.dtype, np.floating) else 0
        whole = np.full((len(known), *values.shape[1:]), nothing, dtype=values.dtype)
        whole[known] = values
        return whole

    return Measured(
        scores={
            key: spread(vector).astype(np.float32, copy=False)
            for key, vector in of_known.scores.items()
        },
        tensors={
            name: NamedTensor(spread(each.values), each.axes, each.coordinates)
            for name, each in of_known.tensors.items()
        },
    )
