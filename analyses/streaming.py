"""The loop of every analysis: measure micro-batches of prompts and join the results."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from analyses.registry import Params
from analyses.results import Measured

if TYPE_CHECKING:
    from analyses.engine.recording import Keep
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example


def streamed(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: Params,
    progress: Callable[[int], None],
    measure: "Callable[[Sequence[Example]], Measured]",
    *,
    keep: "Keep | None" = None,
) -> Measured:
    """The joined results of `measure` for each micro-batch, in the order of the prompts.

    One micro-batch is recorded at a time; `keep` says how much of it, by default what components
    write.
    """
    from analyses.engine.recording import Keep

    measured = []
    done = 0
    for batch in lm.micro_batches(prompts, params.batch_size, keep=keep or Keep.WRITES):
        measured.append(measure(batch))
        done += len(batch)
        progress(done)
    return Measured.joined(measured)
