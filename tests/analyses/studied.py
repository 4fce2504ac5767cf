"""Prompts of a shipped distribution read for a model, and results as another run would get them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from analyses.language_model import LanguageModel
from analyses.organism.export import SHIPPED
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import Example, examples
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import Companion
from analyses.prompts.tokenization import TokenizedPrompt
from analyses.quantities import Quantity, Varied
from analyses.registry import Params
from analyses.results import Component, Derived, Measured, Result, ScoreKey

Inputs = Mapping[str, Result]
# Families with and without rotary embedding, with grouped-query attention, caps and post-norms.
SHIPPED_NAME = "mcq-small"
FAMILIES = ("gemma2", "gpt2", "llama", "qwen2", SHIPPED_NAME)
LONG = {"vocab_size": 300, "max_position_embeddings": 512, "n_positions": 512}


def model_of(load: Callable[..., LanguageModel], family: str) -> LanguageModel:
    """A small random model of a family, or the shipped one, which answers."""
    return shipped() if family == SHIPPED_NAME else load(family, **LONG)


@cache
def shipped() -> LanguageModel:
    return LanguageModel.load(SHIPPED)


def read_for(
    lm: LanguageModel, *, size: int, kinds: Sequence[Companion] = (), split: str = "test"
) -> list[Example]:
    """Prompts of colours, each beside its companions."""
    built = distributions.build(DistributionSpec(data="colours", size=size, split=split))
    beside = {
        kind: {pair.base.number: pair.source for pair in pairs(built, kind)} for kind in kinds
    }
    return examples(lm.tokenizer, built.prompts, beside)


def which_are_correct(prompts: Sequence[TokenizedPrompt]) -> torch.Tensor:
    """Of each prompt's labels, [prompt, label]."""
    return torch.stack(
        [
            torch.zeros(len(each.label_ids), dtype=torch.bool).index_fill(
                0, torch.tensor(each.correct), True
            )
            for each in prompts
        ]
    )


def result(measured: Measured, derived: Derived | None = None) -> Result:
    """What a run that measured this holds in the end, intervals apart."""
    more = derived or Derived()
    means = {key: float(np.nanmean(vector)) for key, vector in measured.scores.items()}
    return Result(
        scores=measured.scores,
        means={**means, **more.numbers},
        tensors={**measured.tensors, **more.tensors},
    )


def run(function, lm, prompts, params: Params, **inputs: object) -> Measured:
    return function(lm, prompts, params, lambda done: None, **inputs)


def in_parts(function, lm, prompts, params: Params, parts: int, **inputs: object) -> Measured:
    """The same, part by part, put together."""
    cuts = np.array_split(np.arange(len(prompts)), parts)
    return Measured.joined(
        [run(function, lm, [prompts[n] for n in cut], params, **inputs) for cut in cuts]
    )


def assert_same(one: Measured, other: Measured) -> None:
    """Bit for bit."""
    assert one.scores.keys() == other.scores.keys()
    for key, vector in one.scores.items():
        np.testing.assert_array_equal(vector, other.scores[key], err_msg=str(key))
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor.values, other.tensors[name].values, err_msg=name)


def score(
    component: Component, metric: str, site: str = "", condition: str | Varied = "", x: float = 0.0
) -> ScoreKey:
    """The key of a score, by what was varied or its text."""
    varied = Varied.read(condition) if isinstance(condition, str) else condition
    return ScoreKey(component, Quantity(metric, site, varied), x)


def of(found: Measured | Result, **key: Any) -> np.ndarray:
    """The one score of that key."""
    return found.scores[score(**key)]
