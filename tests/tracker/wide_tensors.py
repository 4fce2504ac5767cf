"""An analysis `wide` with a large tensor, and with one that no two workers have alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from analyses import registry
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Derived, Measured, NamedTensor, ScoreKey

MANY = 100_000  # numbers per prompt of the tensor `wide`
NEXT = count()


class WideParams(Params):
    """None of its own."""


def other_bits(measured: Measured, params: Any) -> Derived:
    """As a sum may have on another host: each time another value."""
    return Derived(tensors={"bits": NamedTensor(np.array([next(NEXT)], np.float32), ("one",))})


@contextmanager
def registered() -> Iterator[None]:
    @analysis("wide", version=1, params=WideParams, derive=other_bits)
    def wide(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """A score, and 400 kB of zeros for each prompt."""
        zeros = NamedTensor(np.zeros((len(prompts), MANY), np.float32), ("prompt", "place"))
        one = ScoreKey(MODEL, Quantity("one"))
        return Measured(scores={one: np.ones(len(prompts), np.float32)}, tensors={"zeros": zeros})

    globals()["wide"] = wide
    yield
    del registry._ANALYSES["wide"]
