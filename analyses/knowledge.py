"""Which answers a language model knows, apart from finding their labels, and analyses of those."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analyses.quantities import Quantity
from analyses.registry import Measure, Params
from analyses.results import MODEL, Measured, NamedTensor, Result, ScoreKey

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

KNOWN = ScoreKey(MODEL, Quantity("known"))  # 1 where the answer is known, else 0


def content_accuracy(
    lm: "LanguageModel", examples: "Sequence[Example]", *, batch_size: int
) -> NDArray[np.float32]:
    """1 where the correct option's text is the likeliest after the question alone, else 0.

    A text's likelihood is its mean log-probability per token; texts that tie share the answer.
    """
    from analyses.metrics import answer

    found: list[float] = []
    for together in lm.micro_batches(examples, batch_size):
        pairs = [
            (each.content.context, option) for each in together for option in each.content.options
        ]
        numbers = [each.number for each in together for _ in each.content.options]
        shares = answer(lm.mean_log_probs(pairs, numbers).view(len(together), -1))
        found += [float(row[each.correct]) for each, row in zip(together, shares, strict=True)]
    return np.array(found, dtype=np.float32)


def measured(
    measure: Measure,
    lm: "LanguageModel",
    examples: "Sequence[Example]",
    params: Params,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result] | None = None,
) -> Measured:
    """What the analysis measures on the prompts asked for; the others are skipped.

    How many were known is a score of its own, `known`. `inputs` are the results of the runs that
    the analysis needs, whole, where it needs some.
    """
    given = {"inputs": inputs} if inputs else {}
    if params.prompts == "all":
        return measure(lm, examples, params, progress, **given)
    known = content_accuracy(lm, examples, batch_size=params.batch_size) == 1
    found = Measured(scores={})
    if known.any():
        chosen = [each for each, is_known in zip(examples, known, strict=True) if is_known]
        found = _spread(measure(lm, chosen, params, progress, **given), known)
    return replace(found, scores={**found.scores, KNOWN: known.astype(np.float32)})


def _spread(of_known: Measured, known: NDArray[np.bool_]) -> Measured:
    """Skipped where an answer is not known."""

    def spread(values: NDArray[Any], nothing: float) -> NDArray[Any]:
        whole = np.full((len(known), *values.shape[1:]), nothing, dtype=values.dtype)
        whole[known] = values
        return whole

    def spread_tensor(tensor: NamedTensor) -> NamedTensor:
        if not np.issubdtype(tensor.values.dtype, np.inexact):
            return replace(tensor, values=spread(tensor.values, 0))
        missing = spread(tensor.without_number, True)
        return replace(tensor, values=spread(tensor.values, np.nan), missing=missing)

    return Measured(
        scores={
            key: spread(np.asarray(vector, dtype=np.float32), np.nan)
            for key, vector in of_known.scores.items()
        },
        tensors={name: spread_tensor(each) for name, each in of_known.tensors.items()},
        skipped={key: spread(of_known.left_out(key), True) for key in of_known.scores},
    )
