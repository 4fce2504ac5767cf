"""Which answers a model knows, whether or not it finds the label: docs/methods.md, section 2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from analyses.errors import Refused
from analyses.prompts.prompt import Prompt
from analyses.quantities import Quantity
from analyses.registry import Measure, Params
from analyses.results import MODEL, Measured, NamedTensor, Result, ScoreKey

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

KNOWN = ScoreKey(MODEL, Quantity("known"))  # 1 where the answer is known, else 0

SomePrompt = TypeVar("SomePrompt")


class KnownByNoInput(Refused):
    def __init__(self, analysis: str) -> None:
        super().__init__(
            f"{analysis!r} with prompts=known needs to know which answers the model knows, but it "
            "loads no model, and none of its inputs has the score. Queue it with prompts=all."
        )


def content_accuracy(
    lm: "LanguageModel", examples: "Sequence[Example]", *, batch_size: int
) -> NDArray[np.float32]:
    """1 where the correct option's text is the likeliest after the question alone, else 0.

    The likelihood of a text is its mean log-probability per token; texts that tie share the 1. Of
    completions, 1 where a correct candidate is the likeliest.
    """
    from analyses.metrics import accuracy

    known: list[float] = []
    for batch in lm.micro_batches(examples, batch_size):
        tensors = lm.batch(batch)
        contents = [each.content for each in batch if each.content]
        if contents:
            pairs = [(each.context, option) for each in contents for option in each.options]
            numbers = [each.number for each in batch for _ in each.labels]
            values = lm.mean_log_probs(pairs, numbers).view(len(batch), -1)
        else:
            values = lm.record(tensors).logits.gather(1, tensors.label_ids)
        known += accuracy(values, tensors.correct.to(values.device)).tolist()
    return np.array(known, dtype=np.float32)


def without_model(
    measure: Measure,
    prompts: Sequence[Prompt],
    params: Params,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result],
) -> Measured:
    """Run an analysis that needs no model on the results of its inputs.

    With `prompts=known` an input must have measured which answers are known; raises
    `KnownByNoInput` if none has.
    """
    if params.prompts == "all":
        return measure(None, prompts, params, progress, inputs=inputs)
    numbers = [each.number for each in prompts]
    by_inputs = [each.scores[KNOWN][numbers] for each in inputs.values() if KNOWN in each.scores]
    if not by_inputs:
        raise KnownByNoInput(measure.__name__)
    return _of_known(
        by_inputs[0] == 1,
        prompts,
        lambda chosen: measure(None, chosen, params, progress, inputs=inputs),
    )


def measured(
    measure: Measure,
    lm: "LanguageModel",
    examples: "Sequence[Example]",
    params: Params,
    progress: Callable[[int], None],
    inputs: Mapping[str, Result] | None = None,
) -> Measured:
    """Run an analysis on all prompts, or on those with known answers, skipping the others.

    In the second case the score `known` is added. `inputs` are the full results of the runs that
    the analysis needs, if any.
    """
    keywords = {"inputs": inputs} if inputs else {}
    if params.prompts == "all":
        return measure(lm, examples, params, progress, **keywords)
    return _of_known(
        content_accuracy(lm, examples, batch_size=params.batch_size) == 1,
        examples,
        lambda chosen: measure(lm, chosen, params, progress, **keywords),
    )


def _of_known(
    known: NDArray[np.bool_],
    prompts: Sequence[SomePrompt],
    measure: Callable[[Sequence[SomePrompt]], Measured],
) -> Measured:
    """Measure the known prompts and skip the others; add the score `known`."""
    result = Measured(scores={})
    if known.any():
        chosen = [each for each, is_known in zip(prompts, known, strict=True) if is_known]
        result = _spread(measure(chosen), known)
    return replace(result, scores={**result.scores, KNOWN: known.astype(np.float32)})


def _spread(of_known: Measured, known: NDArray[np.bool_]) -> Measured:
    """Extend results of the known prompts to all prompts, skipping the others."""

    def spread(values: NDArray[Any], fill: float) -> NDArray[Any]:
        whole = np.full((len(known), *values.shape[1:]), fill, dtype=values.dtype)
        whole[known] = values
        return whole

    def spread_tensor(tensor: NamedTensor) -> NamedTensor:
        if tensor.is_sum:  # a sum over known prompts only
            return tensor
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
