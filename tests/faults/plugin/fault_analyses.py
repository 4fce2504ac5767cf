"""Analyses for tests of faults: one that is quick and exact, and some that misbehave.

A worker finds them as those of any other package: the folder lies on its path.
"""

import hashlib
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses import registry
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, NamedTensor, ScoreKey

STEP = ScoreKey(MODEL, Quantity("step"))
NAMES = ("steps", "poison", "greedy", "stuck", "hog")
Progress = Callable[[int], None]


class StepsParams(Params):
    pause: float = Field(0.0, ge=0, le=60, description="Seconds before each batch is done.")
    tensor: bool = False


def number_of(tokens: Sequence[int]) -> float:
    """A number from 0 to 1 that only a prompt's tokens decide."""
    said = json.dumps(list(tokens)).encode()
    return int.from_bytes(hashlib.sha256(said).digest()[:3], "big") / 2**24


def numbers_of(prompts: Sequence[Any]) -> NDArray[np.float32]:
    return np.array([number_of(each.input_ids) for each in prompts], np.float32)


@analysis("steps", version=1, params=StepsParams, headline=Quantity("step"))
def steps(lm: Any, prompts: Sequence[Any], params: StepsParams, progress: Progress) -> Measured:
    """A number that a prompt's tokens decide; as slow as it is told to be."""
    for done in range(0, len(prompts), params.batch_size):
        time.sleep(params.pause)
        progress(min(done + params.batch_size, len(prompts)))
    found = numbers_of(prompts)
    tensors = {"steps": NamedTensor(found[:, None], ("prompt", "one"))} if params.tensor else {}
    return Measured(scores={STEP: found}, tensors=tensors)


class PoisonParams(Params):
    """None of its own."""


@analysis("poison", version=1, params=PoisonParams)
def poison(lm: Any, prompts: Sequence[Any], params: PoisonParams, progress: Progress) -> Measured:
    """Kills the process that works on it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


class GreedyParams(Params):
    way: Literal["raise", "cuda", "allocate"] = "raise"


@analysis("greedy", version=1, params=GreedyParams)
def greedy(lm: Any, prompts: Sequence[Any], params: GreedyParams, progress: Progress) -> Measured:
    """Runs out of memory: says so, as torch on a GPU does, or really."""
    if params.way == "raise":
        raise MemoryError
    import torch

    if params.way == "cuda":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, before[1]))
    try:
        kept = torch.ones(100_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    raise AssertionError(f"{kept.numel()} floats were to be had")


class StuckParams(Params):
    """None of its own."""


@analysis("stuck", version=1, params=StuckParams)
def stuck(lm: Any, prompts: Sequence[Any], params: StuckParams, progress: Progress) -> Measured:
    """Lives, and gets nowhere."""
    while True:
        time.sleep(1)


class HogParams(Params):
    size: int = Field(8_000_000, ge=1, description="Numbers that are written as JSON at once.")


@analysis("hog", version=1, params=HogParams)
def hog(lm: Any, prompts: Sequence[Any], params: HogParams, progress: Progress) -> Measured:
    """Lets no other thread of its process run while it writes a list as JSON."""
    length = len(json.dumps(list(range(params.size))))
    progress(len(prompts))
    return Measured(scores={STEP: np.full(len(prompts), length, np.float32)})


REGISTERED = {name: registry.registered()[name] for name in NAMES}
